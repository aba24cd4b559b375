//! Builds the eBPF object, then the agent that embeds it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    exec, remap,
    setup::{self, Toolchain},
    workspace,
};

/// What the agent and the tests embed; `probe-user/build.rs` reads it.
pub(crate) const EBPF_VARIABLE: &str = "TRAFFIC_PROBE_EBPF";

const EBPF_PACKAGE: &str = "probe-ebpf";

/// The programs that do nothing, which the benchmark attaches.
const NOTHING: &str = "probe-nothing";

/// Those that only call what the probe's call, likewise.
const FLOOR: &str = "probe-floor";

/// Leaves `target/release/traffic-probe`, setting up what that takes.
pub(crate) fn build() -> Result<()> {
    let toolchain = setup::ensure(&[])?;
    agent(&ebpf(&toolchain)?)?;
    eprintln!("build: {} is ready", workspace::agent().display());
    Ok(())
}

/// Builds the kernel side; the path of the object is absolute.
pub(crate) fn ebpf(toolchain: &Toolchain) -> Result<PathBuf> {
    ebpf_for(toolchain, env::consts::ARCH)
}

/// The same for a processor: what the kernel tells in its registers depends on it.
pub(crate) fn ebpf_for(toolchain: &Toolchain, architecture: &str) -> Result<PathBuf> {
    object(toolchain, EBPF_PACKAGE, architecture)
}

/// Builds what the benchmark attaches in the probe's stead: programs that do nothing, and programs that only call what the
/// probe's call.
pub(crate) fn stand_ins(toolchain: &Toolchain) -> Result<[PathBuf; 2]> {
    let object = |bin| object(toolchain, bin, env::consts::ARCH);
    Ok([object(NOTHING)?, object(FLOOR)?])
}

fn object(toolchain: &Toolchain, bin: &str, architecture: &str) -> Result<PathBuf> {
    exec::run(cargo_for(toolchain, "build", architecture).args(["--bin", bin]))?;
    let object = directory(architecture).join(ebpf_target()).join("release").join(bin);
    if !object.is_file() {
        bail!(
            "cargo succeeded, but left no eBPF object at {}; is the bin still called {bin}?",
            object.display()
        );
    }
    Ok(object)
}

/// Each processor's beside this machine's, or each would have the other compiled anew.
fn directory(architecture: &str) -> PathBuf {
    let own = workspace::ebpf_target();
    if architecture == env::consts::ARCH { own } else { own.with_extension(architecture) }
}

/// Builds the agent around an object.
pub(crate) fn agent(object: &Path) -> Result<()> {
    let mut cargo = workspace::host_cargo("build");
    cargo.args(["--release", "-p", "probe-user", "--bin", "traffic-probe"]).env(EBPF_VARIABLE, object);
    exec::run(&mut cargo)
}

/// A cargo that compiles the kernel side: `build`, or `clippy`.
pub(crate) fn ebpf_cargo(toolchain: &Toolchain, subcommand: &str) -> Command {
    cargo_for(toolchain, subcommand, env::consts::ARCH)
}

fn cargo_for(toolchain: &Toolchain, subcommand: &str, architecture: &str) -> Command {
    let linker = format!("CARGO_TARGET_{}_LINKER", ebpf_target().to_uppercase().replace('-', "_"));
    let arch = format!("--cfg=bpf_target_arch=\"{architecture}\"");
    let mut cargo = toolchain.cargo(subcommand);
    cargo
        .args(["--release", "--package", EBPF_PACKAGE, "-Z", "build-std=core", "--target", ebpf_target()])
        .current_dir(workspace::root())
        .env("CARGO_TARGET_DIR", directory(architecture))
        .env(remap::VARIABLE, remap::flags([&*arch, "-Cdebuginfo=2", "-Clink-arg=--btf"]))
        .env(linker, toolchain.linker());
    cargo
}

/// BPF programs have the byte order of the machine that runs them.
pub(crate) const fn ebpf_target() -> &'static str {
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}
