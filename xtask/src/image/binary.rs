//! The static binary that the image, and packages, are made of.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use super::platform::Platform;
use crate::{
    build, exec, remap,
    setup::{self, Group, Toolchain},
    workspace,
};

/// What rustc needs to link for another processor: its own linker, since that of the machine's C compiler knows the machine's.
const FOREIGN: [&str; 2] = ["-Clinker=rust-lld", "-Clink-self-contained=yes"];

/// Compiles the agent for this machine with all that it needs in it.
pub(crate) fn binary() -> Result<PathBuf> {
    let platform = Platform::own()?;
    compiled(&toolchain(platform)?, platform)
}

/// What compiling for a platform takes, set up.
pub(super) fn toolchain(platform: Platform) -> Result<Toolchain> {
    setup::ensure(&[if platform.is_own() { Group::Image } else { Group::ForeignImage }])
}

/// The same for a platform, by a toolchain that is there.
pub(super) fn compiled(toolchain: &Toolchain, platform: Platform) -> Result<PathBuf> {
    let object = build::ebpf_for(toolchain, platform.architecture())?;
    let target = platform.target();
    add_target(&target)?;
    let mut cargo = workspace::host_cargo("build");
    cargo.args(["--release", "-p", "probe-user", "--bin", "traffic-probe", "--target", &target]);
    cargo.env(build::EBPF_VARIABLE, object);
    let flags: &[&str] = if platform.is_own() { &[] } else { &FOREIGN };
    // The image is of the sources, not of the flags that its maker happens to set.
    cargo.env(remap::VARIABLE, remap::flags(flags.iter().copied()));
    if !platform.is_own() {
        // It compiles for every processor, as no other C compiler does; what is C takes nothing of a C library but headers.
        cargo.env(format!("CC_{}", target.replace('-', "_")), "clang");
    }
    // Names of functions are a fifth of the file, and nobody reads a backtrace in a container that was replaced.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    exec::run(&mut cargo)?;
    let context = platform.directory();
    fs::create_dir_all(&context).with_context(|| format!("could not create {}", context.display()))?;
    let built = workspace::target().join(&target).join("release/traffic-probe");
    let binary = context.join("traffic-probe");
    fs::copy(&built, &binary)
        .with_context(|| format!("could not copy {} to {}", built.display(), binary.display()))?;
    // Whatever the user's umask is: it is in the image.
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("could not set the mode of {}", binary.display()))?;
    Ok(binary)
}

/// Rust's library for programs without a C library beside them comes with rustup.
fn add_target(target: &str) -> Result<()> {
    if exec::find("rustup").is_none() {
        bail!(
            "a static binary takes Rust's library for {target}, which comes by rustup: install that (https://rustup.rs)"
        );
    }
    let there =
        exec::output(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default();
    if there.lines().any(|line| line == target) {
        return Ok(());
    }
    exec::run_long(
        &format!("adding rustup's target {target}"),
        Command::new("rustup").args(["target", "add", target]),
    )
}
