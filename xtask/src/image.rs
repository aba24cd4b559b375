//! `cargo xtask image`: a container image with the agent alone, built by what the machine has for it.

mod binary;
mod builder;
mod sbom;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;

pub(crate) use self::binary::binary;
use self::builder::Builder;
use crate::{
    exec,
    setup::{self, Group},
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
    /// Only build the static binary: target/image/traffic-probe
    #[arg(long)]
    binary_only: bool,
}

pub(crate) fn image(options: &Options) -> Result<()> {
    let toolchain = setup::ensure(&[Group::Image])?;
    let binary = binary::compiled(&toolchain)?;
    eprintln!("image: {} is {} bytes", binary.display(), size(&binary)?);
    if options.binary_only {
        return Ok(());
    }
    let builder = Builder::find()?;
    builder.build(&binary, &options.tag)?;
    if let Some(archive) = &options.archive {
        builder.save(&options.tag, archive)?;
        sbom::write(&binary, &toolchain, archive)?;
        eprintln!("image: {} is {} bytes", archive.display(), size(archive)?);
    }
    eprintln!("image: {} is in the storage of {}", options.tag, builder.name());
    Ok(())
}

/// Builds it by buildah for the tests, in a storage that is nobody's; gives the archive.
pub(crate) fn for_tests() -> Result<PathBuf> {
    let toolchain = setup::ensure(&[Group::Image, Group::Containers])?;
    let binary = binary::compiled(&toolchain)?;
    let directory = workspace::target().join("image-tests");
    let storage = directory.join("storage");
    let builder = Builder::buildah_in(&storage);
    let archive = directory.join("traffic-probe.tar");
    let tag = "localhost/traffic-probe:test";
    builder.build(&binary, tag)?;
    builder.save(tag, &archive)?;
    sbom::write(&binary, &toolchain, &archive)?;
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
