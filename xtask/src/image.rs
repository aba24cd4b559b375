//! `cargo xtask image`: a container image with the agent alone, built by what the machine has for it.

mod binary;
mod builder;
mod platform;
mod reproducible;
mod sbom;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;

pub(crate) use self::binary::binary;
use self::{builder::Builder, platform::Platform};
use crate::{
    exec,
    setup::{self, Emulated, Group, Toolchain},
    workspace,
};

/// What `image` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The image's name
    #[arg(long, default_value = "localhost/traffic-probe:dev")]
    tag: String,
    /// Also write it to this file, as `docker load` and `cargo xtask cluster load` read it, and beside it, with the ending
    /// .cdx.json, what it is made of
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Whom it is for; this machine's own if not given
    #[arg(long)]
    platform: Option<Platform>,
    /// Only build the static binary: target/image/traffic-probe, for another platform beside it
    #[arg(long)]
    binary_only: bool,
    /// Only check that the commit gives the same image in two folders: two builds from nothing, which take long
    #[arg(long, exclusive = true)]
    check_reproducible: bool,
}

pub(crate) fn image(options: &Options) -> Result<()> {
    if options.check_reproducible {
        return reproducible::check();
    }
    let platform = options.platform.map_or_else(Platform::own, Ok)?;
    let toolchain = binary::toolchain(platform)?;
    let binary = binary::compiled(&toolchain, platform)?;
    eprintln!("image: {} is {} bytes", binary.display(), size(&binary)?);
    if options.binary_only {
        return Ok(());
    }
    let builder = Builder::find()?;
    builder.build(&binary, platform, &options.tag)?;
    if let Some(archive) = &options.archive {
        builder.save(&options.tag, archive)?;
        sbom::write(&binary, platform, &toolchain, archive)?;
        eprintln!("image: {} is {} bytes", archive.display(), size(archive)?);
    }
    eprintln!("image: {} for {} is in the storage of {}", options.tag, platform.name(), builder.name());
    Ok(())
}

/// What the tests of images look at.
pub(crate) struct ForTests {
    /// The archive of the image for this machine, to be run.
    own: PathBuf,
    bill_schema: PathBuf,
    /// The archive of that for 64-bit ARM, and what runs it where this machine is none.
    foreign: Option<(PathBuf, Emulated)>,
}

impl ForTests {
    /// Builds images by buildah, in a storage that is nobody's.
    pub(crate) fn prepare() -> Result<Self> {
        let mut groups = vec![Group::Image, Group::Containers];
        let is_foreign = !Platform::Arm64.is_own();
        if is_foreign {
            setup::machine_possible()?;
            groups.extend([Group::ForeignImage, Group::Emulated]);
        }
        let toolchain = setup::ensure(&groups)?;
        let archive = |platform| archive_for_tests(&toolchain, platform);
        let foreign = || Ok::<_, anyhow::Error>((archive(Platform::Arm64)?, setup::emulated()?));
        Ok(Self {
            own: archive(Platform::own()?)?,
            bill_schema: setup::bill_schema()?,
            foreign: is_foreign.then(foreign).transpose()?,
        })
    }

    /// Where the tests look for them.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &Path)> {
        let mut variables =
            vec![("TRAFFIC_PROBE_IMAGE", &*self.own), ("TRAFFIC_PROBE_BILL_SCHEMA", &*self.bill_schema)];
        if let Some((archive, Emulated { kernel, busybox })) = &self.foreign {
            variables.extend([
                ("TRAFFIC_PROBE_ARM64_IMAGE", &**archive),
                ("TRAFFIC_PROBE_ARM64_KERNEL", kernel),
                ("TRAFFIC_PROBE_ARM64_BUSYBOX", busybox),
            ]);
        }
        variables
    }
}

fn archive_for_tests(toolchain: &Toolchain, platform: Platform) -> Result<PathBuf> {
    let binary = binary::compiled(toolchain, platform)?;
    let directory = workspace::target().join("image-tests");
    let builder = Builder::buildah_in(&directory.join("storage"));
    let archive = directory.join(format!("{}.tar", platform.architecture()));
    let tag = "localhost/traffic-probe:test";
    builder.build(&binary, platform, tag)?;
    builder.save(tag, &archive)?;
    sbom::write(&binary, platform, toolchain, &archive)?;
    builder.remove_all()?;
    Ok(archive)
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("could not read {}", file.display()))?.len())
}

/// When what is being built was written, in seconds: what `SOURCE_DATE_EPOCH` says, else the commit, else 1970.
fn written() -> String {
    let told = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|time| time.parse::<u64>().is_ok());
    let commit = || {
        let mut git = std::process::Command::new("git");
        git.args(["log", "-1", "--format=%ct"]).current_dir(workspace::root());
        exec::output(&mut git).map(|time| time.trim().to_owned())
    };
    told.or_else(commit).unwrap_or_else(|| "0".to_owned())
}
