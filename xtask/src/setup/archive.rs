//! Debian's packages as files: fetched and unpacked in our cache, never installed.
//!
//! apt gets a list of sources and directories of our own, so that a release other than the machine's can be asked,
//! no root is needed, and the machine's own lists stay as they are. The mirror is the machine's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::cached;
use crate::{exec, workspace};

/// The keys of every release of Debian.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What programs of Debian are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processor {
    /// This machine's.
    Own,
    /// 64-bit ARM, which is emulated.
    Arm64,
}

impl Processor {
    /// Debian's name, if apt is to be told it.
    const fn foreign(self) -> Option<&'static str> {
        match self {
            Self::Own => None,
            Self::Arm64 => Some("arm64"),
        }
    }

    /// A name for what is the same thing for each of them.
    pub(super) fn tell_apart(self, name: &str) -> String {
        self.foreign().map_or_else(|| name.to_owned(), |foreign| format!("{name}-{foreign}"))
    }
}

/// The archives of one release.
pub(super) struct Archive {
    directory: PathBuf,
    processor: Processor,
}

impl Archive {
    /// The archives of a release, on the mirrors that this machine takes its own from.
    pub(super) fn of(release: &str, processor: Processor) -> Result<Self> {
        let directory = workspace::cache()?.join("apt").join(processor.tell_apart(release));
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).with_context(|| format!("could not create {}", part.display()))?;
        }
        let configured = exec::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ]))
        .context("apt-get does not tell from where this machine has its packages")?;
        let own = codename()?;
        let sources = sources(&configured, &own, release);
        if sources.is_empty() {
            bail!(
                "apt is not configured with any archive of {own} (`apt-get indextargets` lists what it has), so there \
                 is no mirror to take packages of {release} from"
            );
        }
        let list = directory.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("could not write {}", list.display()))?;
        let archive = Self { directory, processor };
        exec::run_long(
            &format!("fetching {release}'s list of packages"),
            archive.apt("apt-get").args(["update", "-qq"]),
        )?;
        Ok(archive)
    }

    /// The names of packages that match a regular expression.
    pub(super) fn search(&self, pattern: &str) -> Vec<String> {
        let mut search = self.apt("apt-cache");
        let found = exec::output(search.args(["search", "--names-only", pattern])).unwrap_or_default();
        found.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
    }

    /// Fetches a package and unpacks it; `finish` is done to the directory before it gets its final name, by which
    /// `file` is known to be in it.
    pub(super) fn unpack(
        &self,
        package: &str,
        directory: &Path,
        file: &Path,
        finish: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let partial = cached::beside(directory, "partial");
        // What an interrupted predecessor left may be half a file.
        let _ = fs::remove_dir_all(&partial);
        let fetched = partial.join("fetched");
        fs::create_dir_all(&fetched).with_context(|| format!("could not create {}", fetched.display()))?;
        let mut download = self.apt("apt-get");
        download.args(["download", "-qq", package]).current_dir(&fetched);
        exec::run_long(&format!("fetching {package}"), &mut download)?;
        let package_file = fs::read_dir(&fetched)
            .ok()
            .and_then(|mut files| files.next()?.ok())
            .with_context(|| format!("apt-get left no package in {}", fetched.display()))?;
        exec::run(Command::new("dpkg-deb").arg("-x").arg(package_file.path()).arg(&partial))?;
        fs::remove_dir_all(&fetched).with_context(|| format!("could not remove {}", fetched.display()))?;
        finish(&partial)?;
        cached::adopt(&partial, directory, file)
    }

    /// apt on these archives. What it downloads as root it could not hand to its own user through our directories.
    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        for (name, value) in [
            ("Dir::Etc::sourcelist", self.directory.join("sources.list")),
            ("Dir::Etc::sourceparts", "-".into()),
            ("Dir::State::lists", self.directory.join("lists")),
            ("Dir::Cache", self.directory.join("cache")),
            ("APT::Sandbox::User", "root".into()),
        ] {
            apt.arg("-o").arg(format!("{name}={}", value.display()));
        }
        if let Some(foreign) = self.processor.foreign() {
            apt.args(["-o", &format!("APT::Architecture={foreign}")]);
            apt.args(["-o", &format!("APT::Architectures={foreign}")]);
        }
        apt
    }
}

/// The name of this machine's release of Debian.
pub(super) fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("could not read /etc/os-release")?;
    release
        .lines()
        .find_map(|line| Some(line.strip_prefix("VERSION_CODENAME=")?.trim_matches('"').to_owned()))
        .context("/etc/os-release names no VERSION_CODENAME")
}

/// The configured archives of the release `own` (a line each: URI, suite, component), as lines of a sources.list, with
/// `wanted` in its place. Updates and backports are left out: they have no kernels of their own.
fn sources(configured: &str, own: &str, wanted: &str) -> String {
    let mut lines: Vec<_> = configured
        .lines()
        .filter_map(|line| {
            let [uri, suite, component] = line.split(' ').collect::<Vec<_>>()[..] else {
                return None;
            };
            let suffix = if suite.ends_with("-security") { "-security" } else { "" };
            let base = suite.strip_suffix(suffix).unwrap_or(suite);
            let ours = [own, "stable", "oldstable", "oldoldstable", "testing"].contains(&base);
            ours.then(|| format!("deb [signed-by={KEYS}] {uri} {wanted}{suffix} {component}\n"))
        })
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_release_comes_from_the_mirror_of_this_one() {
        let configured = "http://mirror.example/debian bookworm main\n\
                          http://mirror.example/debian bookworm main\n\
                          http://mirror.example/debian bookworm-updates main\n\
                          http://mirror.example/security stable-security main\n\
                          http://elsewhere.example/node nodistro main\n";
        assert_eq!(
            sources(configured, "bookworm", "bullseye"),
            format!(
                "deb [signed-by={KEYS}] http://mirror.example/debian bullseye main\n\
                 deb [signed-by={KEYS}] http://mirror.example/security bullseye-security main\n"
            )
        );
        assert_eq!(sources("http://elsewhere.example/u noble main\n", "bookworm", "bullseye"), "");
    }
}
