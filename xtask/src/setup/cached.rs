//! Programs that are compiled once and kept in our cache, never in the user's `~/.cargo/bin`.
//!
//! What an interrupted predecessor left is used by the next: only a finished directory gets the final name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{exec, workspace};

/// A crate to be compiled, of a version that was tried.
pub(super) struct Crate<'a> {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Its features, in place of the default ones, if there are to be others. (A crate without features has no `default` to name.)
    pub(super) features: Option<&'a str>,
}

impl Crate<'_> {
    /// Compiles it into a directory of the cache, and returns the program; `configure` adds what it needs beside.
    pub(super) fn install(&self, directory: &Path, configure: impl FnOnce(&mut Command)) -> Result<PathBuf> {
        let (partial, objects) = (beside(directory, "partial"), beside(directory, "target"));
        let mut cargo = workspace::host_cargo("install");
        // The toolchain that started us stays named: without, rustup would heed the toolchain files of dependencies.
        for flags in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(flags);
        }
        cargo.args([self.name, "--version", self.version, "--locked"]);
        if let Some(features) = self.features {
            cargo.args(["--no-default-features", "--features", features]);
        }
        cargo
            .args(["--force", "--no-track", "--root"])
            .arg(&partial)
            .env("CARGO_TARGET_DIR", &objects)
            // Or cargo would tell the user to put a directory on PATH that is about to be renamed.
            .env("PATH", format!("{}/bin:{}", partial.display(), exec::search_path()))
            .current_dir("/");
        configure(&mut cargo);
        exec::run_long(&format!("compiling {}", self.name), &mut cargo)?;
        let program = adopt(&partial, directory, &Path::new("bin").join(self.name))?;
        // Only disk space: nothing depends on it.
        let _ = fs::remove_dir_all(&objects);
        Ok(program)
    }
}

/// A directory for unfinished work, on the same file system so that it can be renamed.
pub(super) fn beside(directory: &Path, suffix: &str) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(format!(".{suffix}"));
    name.into()
}

/// The file for whose sake a directory of the cache is there.
pub(super) fn existing(directory: &Path, file: &Path) -> Option<PathBuf> {
    let file = directory.join(file);
    file.is_file().then_some(file)
}

/// Gives a finished directory its final name; whoever was faster has done the same.
pub(super) fn adopt(partial: &Path, directory: &Path, file: &Path) -> Result<PathBuf> {
    if existing(partial, file).is_none() && existing(directory, file).is_none() {
        bail!("{} was left without {}", partial.display(), file.display());
    }
    let renamed = fs::rename(partial, directory);
    existing(directory, file).map_or_else(
        || {
            renamed.with_context(|| {
                format!("could not rename {} to {}", partial.display(), directory.display())
            })?;
            bail!("{} holds no {}; remove it, and run this again", directory.display(), file.display())
        },
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    #[test]
    fn only_a_finished_directory_is_adopted() {
        let scratch = env::temp_dir().join(format!("traffic-probe-cached-{}", std::process::id()));
        let (done, file) = (scratch.join("a"), Path::new("bin/bpf-linker"));
        let partial = beside(&done, "partial");
        fs::create_dir_all(partial.join("bin")).unwrap();
        assert!(adopt(&partial, &done, file).is_err(), "there is nothing in it");
        assert!(partial.exists() && !done.exists());
        fs::write(partial.join(file), "").unwrap();
        let linker = adopt(&partial, &done, file).unwrap();
        assert!(linker.is_file() && !partial.exists());
        assert_eq!(adopt(&partial, &done, file).unwrap(), linker, "whoever comes second finds it");
        fs::remove_dir_all(scratch).unwrap();
    }
}
