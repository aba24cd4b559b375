//! The spelling checker: a wheel of `PyPI` with the program in it, since compiling it would take CI minutes.

use std::path::PathBuf;

use anyhow::Result;

use super::python::Package;

const TYPOS: Package = Package {
    name: "typos",
    extras: "",
    version: "1.34.0",
    file: "bin/typos",
    why: "it checks the spelling; a second, once for this user",
};

/// Where the program is.
pub(crate) fn typos() -> Result<PathBuf> {
    Ok(TYPOS.ensure()?.join(TYPOS.file))
}
