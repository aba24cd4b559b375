//! Where things are, and how cargo is called on them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

/// What cargo and rustup leave in our environment, and what would steer a cargo of another toolchain.
///
/// Everything else (`CARGO_HOME`, registries, proxies, `RUSTUP_HOME`) is the user's and stays.
const INHERITED: [&str; 14] = [
    "CARGO",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "LD_LIBRARY_PATH",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUSTUP_TOOLCHAIN_SOURCE",
    "RUST_RECURSION_COUNT",
];

/// The root of the source tree.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where everything is built. Given to each cargo explicitly, so that `build` leaves the agent where it promises.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Where the kernel side is built: apart, so that the two cargos do not wait for each other's lock.
pub(crate) fn ebpf_target() -> PathBuf {
    target().join("ebpf")
}

/// The agent.
pub(crate) fn agent() -> PathBuf {
    target().join("release/traffic-probe")
}

/// What we keep outside of the tree: tools that outlive a `clean` and serve every clone.
pub(crate) fn cache() -> Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("traffic-probe"))
        .context("neither HOME nor XDG_CACHE_HOME is set; set one of them, for the tools that are kept between builds")
}

/// The cargo that started us, for what runs on this machine: the user's toolchain and flags are kept.
pub(crate) fn host_cargo(subcommand: &str) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    command.env("CARGO_TARGET_DIR", target()).env_remove("LD_LIBRARY_PATH");
    forget_package(&mut command);
    command
}

/// Takes out of a command's environment all that our own cargo put there.
pub(crate) fn forget_cargo(command: &mut Command) {
    for name in INHERITED {
        command.env_remove(name);
    }
    forget_package(command);
}

/// `cargo run` describes the package xtask to us in variables; to a child they would be lies.
fn forget_package(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let described = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
        });
        if described {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("Cargo.toml").is_file());
        assert!(agent().ends_with("target/release/traffic-probe"));
    }
}
