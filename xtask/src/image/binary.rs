//! The static binary that the image, and packages, are made of.

use std::{env, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    build, exec, remap,
    setup::{self, Group, Toolchain},
    workspace,
};

/// Compiles the agent with all that it needs in it.
pub(crate) fn binary() -> Result<PathBuf> {
    compiled(&setup::ensure(&[Group::Image])?)
}

/// The same by a toolchain that is there.
pub(super) fn compiled(toolchain: &Toolchain) -> Result<PathBuf> {
    let object = build::ebpf(toolchain)?;
    let target = static_target();
    add_target(&target)?;
    let mut cargo = workspace::host_cargo("build");
    cargo.args(["--release", "-p", "probe-user", "--bin", "traffic-probe", "--target", &target]);
    cargo.env(build::EBPF_VARIABLE, object);
    // The image is of the sources, not of the flags that its maker happens to set.
    cargo.env(remap::VARIABLE, remap::flags([]));
    // Names of functions are a fifth of the file, and nobody reads a backtrace in a container that was replaced.
    cargo.env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    exec::run(&mut cargo)?;
    let context = workspace::target().join("image");
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

/// What it is compiled for.
pub(super) fn static_target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
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
