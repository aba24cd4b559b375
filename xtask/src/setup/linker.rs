//! bpf-linker, which turns LLVM bitcode into an eBPF object. It must read the bitcode of its compiler, so a copy is
//! kept in our cache for each LLVM.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    cached::{self, Crate},
    step::Steps,
};
use crate::{exec, workspace};

const VERSION: &str = "0.13.0";
const WHY: &str = "it links the kernel side; a minute or two, once for this user and LLVM";

/// The LLVM of a compiler: a bpf-linker is compiled against just that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Llvm {
    /// Of the package llvm-22-dev.
    Debian,
    /// The shared library that rustup's nightly brings; no distribution packages one as new.
    Nightly { library: PathBuf, version: String },
}

impl Llvm {
    /// The LLVM in a toolchain of rustup.
    pub(crate) fn of_nightly(toolchain: &Path) -> Option<Self> {
        fs::read_dir(toolchain.join("lib")).ok()?.flatten().find_map(|file| {
            let version = file.file_name().to_str()?.strip_prefix("libLLVM.so.")?.to_owned();
            Some(Self::Nightly { library: file.path(), version })
        })
    }

    /// The bpf-linker for it, if it is there.
    pub(crate) fn linker(&self) -> Option<PathBuf> {
        existing(&self.directory().ok()?)
    }

    fn directory(&self) -> Result<PathBuf> {
        Ok(workspace::cache()?.join(match self {
            Self::Debian => format!("bpf-linker-{VERSION}-llvm22"),
            Self::Nightly { version, .. } => format!("bpf-linker-{VERSION}-llvm{version}"),
        }))
    }

    /// How bpf-linker calls this version.
    fn feature(&self) -> String {
        match self {
            Self::Debian => "llvm-22".into(),
            Self::Nightly { version, .. } => format!("llvm-{}", version.split('.').next().unwrap_or(version)),
        }
    }

    /// What bpf-linker wants as `LLVM_PREFIX`, to link to and to find at run time: nightly's library has a name that
    /// no linker looks for, so it gets one, in a directory of ours.
    fn prefix(&self) -> Result<PathBuf> {
        let Self::Nightly { library, version } = self else {
            return Ok("/usr/lib/llvm-22".into());
        };
        let prefix = workspace::cache()?.join(format!("llvm{version}"));
        let directory = prefix.join("lib");
        fs::create_dir_all(&directory)
            .with_context(|| format!("could not create {}", directory.display()))?;
        for name in ["libLLVM.so".to_owned(), format!("libLLVM.so.{version}")] {
            let link = directory.join(name);
            match symlink(library, &link) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("could not create {}", link.display()));
                }
                _ => {}
            }
        }
        Ok(prefix)
    }
}

/// Whether a bpf-linker that someone installed starts at all: its LLVM may have been removed since.
pub(crate) fn works(linker: &Path) -> bool {
    exec::output(Command::new(linker).arg("--version")).is_some()
}

/// Compiles bpf-linker.
pub(crate) fn compile(llvm: &Llvm, steps: &mut Steps) -> Result<PathBuf> {
    let directory = llvm.directory()?;
    if let Some(linker) = existing(&directory) {
        steps.there(&linker.display().to_string(), WHY);
        return Ok(linker);
    }
    steps.doing(&format!("compiling bpf-linker {VERSION} into {}", directory.display()), WHY);
    let prefix = llvm.prefix()?;
    let bpf_linker = Crate { name: "bpf-linker", version: VERSION, features: Some(&llvm.feature()) };
    bpf_linker
        .install(&directory, |cargo| {
            cargo.env("LLVM_PREFIX", prefix);
        })
        .context(
            "bpf-linker could not be compiled; to go on without, install one by hand that goes with rustup's \
             nightly (https://github.com/aya-rs/bpf-linker/releases), and the component rust-src of nightly",
        )
}

fn existing(directory: &Path) -> Option<PathBuf> {
    cached::existing(directory, Path::new("bin/bpf-linker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nightly_is_known_by_its_library() {
        let llvm =
            Llvm::Nightly { library: "/t/lib/libLLVM.so.23.1-rust".into(), version: "23.1-rust".into() };
        assert_eq!(llvm.feature(), "llvm-23");
        assert!(llvm.directory().unwrap().ends_with(format!("bpf-linker-{VERSION}-llvm23.1-rust")));
        assert_ne!(llvm.directory().unwrap(), Llvm::Debian.directory().unwrap());
    }
}
