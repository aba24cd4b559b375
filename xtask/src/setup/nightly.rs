//! rustup's nightly, for a user who has it, and for systems whose own compiler is too old.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    linker::{self, Llvm},
    step::Steps,
};
use crate::exec;

/// Nightly's cargo, without going through the `cargo` on `PATH`, which need not be rustup's.
pub(super) fn cargo() -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo"]);
    cargo
}

/// Nightly's compiler, likewise.
pub(super) fn rustc() -> Command {
    let mut rustc = Command::new("rustup");
    rustc.args(["run", "nightly", "rustc"]);
    rustc
}

/// Has rustup bring what is missing; the linker is the user's own if there is one.
pub(super) fn complete(steps: &mut Steps) -> Result<PathBuf> {
    if with_source().is_none() {
        steps.doing("installing rustup's nightly with rust-src", "it compiles the kernel side");
        let mut rustup = Command::new("rustup");
        rustup.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
        rustup.args(["--component", "rust-src", "--component", "clippy"]);
        exec::run_long("installing nightly", rustup.arg("--no-self-update"))?;
    }
    if let Some(linker) = exec::find("bpf-linker").filter(|file| linker::works(file)) {
        return Ok(linker);
    }
    let llvm = with_source().as_deref().and_then(Llvm::of_nightly).context(
        "rustup's nightly has no rust-src or no libLLVM; try `rustup toolchain uninstall nightly`, then this again",
    )?;
    linker::compile(&llvm, steps)
}

/// rustup's nightly if it can compile `core`: told by its files, since asking rustup takes longer.
pub(super) fn with_source() -> Option<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")))?;
    let prefix = format!("nightly-{}-unknown-linux", env::consts::ARCH);
    let toolchains = fs::read_dir(home.join("toolchains")).ok()?;
    toolchains.flatten().map(|toolchain| toolchain.path()).find(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
            && path.join("lib/rustlib/src/rust/library/core").is_dir()
    })
}
