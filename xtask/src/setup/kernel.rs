//! Kernels for virtual machines: Debian's for clouds, which are small and have what a virtual machine needs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{
    archive::{self, Archive, Processor},
    step::Steps,
};
use crate::{exec, workspace};

/// Which release of Debian has a kernel; this machine's own is asked first.
const RELEASES: [(&str, &str); 3] = [("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "trixie")];

/// A kernel that can be booted.
pub(crate) struct Kernel {
    /// What `uname -r` says under it.
    pub(crate) release: String,
    /// The image.
    pub(crate) image: PathBuf,
    /// The directory in which `lib/modules` lies.
    pub(crate) root: PathBuf,
}

/// How the names of its kernels end. Virtual machines are for x86-64 where they are not emulated altogether:
/// [`super::machine::possible`].
const fn ending(processor: Processor) -> &'static str {
    match processor {
        Processor::Own => "-cloud-amd64",
        Processor::Arm64 => "-cloud-arm64",
    }
}

/// The newest kernel of a series such as 6.1, from our cache, or else from Debian.
pub(super) fn ensure(series: &str, processor: Processor, steps: &mut Steps) -> Result<Kernel> {
    const WHY: &str = "a virtual machine runs the programs under it";
    if let Some(package) = newest(cached_packages()?, series, processor) {
        steps.there(&package, WHY);
        return Kernel::of(&package);
    }
    let (archive, package) = find(series, processor)?;
    steps.doing(&format!("fetching and unpacking {package}"), WHY);
    let directory = directory()?.join(&package);
    let release = release_of(&package);
    let image = Path::new("boot").join(format!("vmlinuz-{release}"));
    archive.unpack(&package, &directory, &image, |root| index_modules(root, release))?;
    Kernel::of(&package)
}

impl Kernel {
    fn of(package: &str) -> Result<Self> {
        let root = directory()?.join(package);
        let release = release_of(package).to_owned();
        Ok(Self { image: root.join("boot").join(format!("vmlinuz-{release}")), release, root })
    }

    /// The directory of its modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.root.join("lib/modules").join(&self.release)
    }
}

fn directory() -> Result<PathBuf> {
    Ok(workspace::cache()?.join("kernels"))
}

fn cached_packages() -> Result<Vec<String>> {
    let entries = fs::read_dir(directory()?).into_iter().flatten().flatten();
    Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Where the newest kernel of a series is to be had.
fn find(series: &str, processor: Processor) -> Result<(Archive, String)> {
    let pattern = format!("^linux-image-{}\\.[0-9].*{}$", series.replace('.', "\\."), ending(processor));
    let own = archive::codename()?;
    let elsewhere = RELEASES.iter().find(|(known, _)| *known == series).map(|(_, release)| *release);
    let archives = [Some(own.as_str()), elsewhere.filter(|release| *release != own)];
    for release in archives.into_iter().flatten() {
        let archive = Archive::of(release, processor)?;
        if let Some(package) = newest(archive.search(&pattern), series, processor) {
            return Ok((archive, package));
        }
    }
    let known: Vec<_> = RELEASES.iter().map(|(series, _)| *series).collect();
    bail!(
        "no archive of Debian that this machine's apt leads to has a kernel {series} for clouds; those that were tried \
         are {}",
        known.join(", ")
    )
}

/// The newest package of a series; numbers in their names compare as numbers.
fn newest(packages: Vec<String>, series: &str, processor: Processor) -> Option<String> {
    let prefix = format!("linux-image-{series}.");
    let numbers = |name: &String| -> Vec<u64> {
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    packages
        .into_iter()
        .filter(|package| package.starts_with(&prefix) && package.ends_with(ending(processor)))
        .max_by_key(numbers)
}

fn release_of(package: &str) -> &str {
    package.strip_prefix("linux-image-").unwrap_or(package)
}

/// Does what installing a kernel would: the index by which modules find what they need.
fn index_modules(root: &Path, release: &str) -> Result<()> {
    let lib = root.join("lib");
    if !lib.exists() {
        // Since trixie a package has its modules where they lie once `/lib` is a link.
        std::os::unix::fs::symlink("usr/lib", &lib)
            .with_context(|| format!("could not create {}", lib.display()))?;
    }
    exec::run(Command::new("depmod").arg("-b").arg(root).arg(release).env("PATH", exec::search_path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_that_of_the_largest_number() {
        let packages = || {
            [
                "linux-image-6.1.0-9-cloud-amd64",
                "linux-image-6.1.0-56-cloud-amd64",
                "linux-image-6.1.0-57-cloud-amd64.partial",
                "linux-image-6.12-cloud-amd64",
                "linux-image-6.12.9+deb12-cloud-amd64",
                "linux-image-6.12.117+deb12-cloud-amd64",
                "linux-image-6.12.118+deb12-cloud-arm64",
            ]
            .map(String::from)
            .to_vec()
        };
        let found = |series, processor| newest(packages(), series, processor);
        assert_eq!(found("6.1", Processor::Own).unwrap(), "linux-image-6.1.0-56-cloud-amd64");
        assert_eq!(found("6.12", Processor::Own).unwrap(), "linux-image-6.12.117+deb12-cloud-amd64");
        assert_eq!(found("6.12", Processor::Arm64).unwrap(), "linux-image-6.12.118+deb12-cloud-arm64");
        assert_eq!(found("5.10", Processor::Own), None);
        assert_eq!(release_of("linux-image-6.1.0-9-cloud-amd64"), "6.1.0-9-cloud-amd64");
    }
}
