//! What makes packages of distributions out of what was built.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{
    cached::{self, Crate},
    step::{Detail, Steps},
};
use crate::workspace;

const WHY: &str = "it makes packages; a minute or two, once for this user";

const DEB: Crate = Crate { name: "cargo-deb", version: "3.8.0", features: None };
const RPM: Crate = Crate { name: "cargo-generate-rpm", version: "0.21.1", features: None };

/// The programs that make packages, compiled if they are missing.
pub(crate) struct Packagers {
    /// `cargo-deb`.
    pub(crate) deb: PathBuf,
    /// `cargo-generate-rpm`.
    pub(crate) rpm: PathBuf,
}

/// Finds them, or compiles them.
pub(crate) fn packagers() -> Result<Packagers> {
    let mut steps = Steps::new(Detail::Changes);
    let packagers = Packagers { deb: compiled(&DEB, &mut steps)?, rpm: compiled(&RPM, &mut steps)? };
    steps.finish();
    Ok(packagers)
}

fn compiled(wanted: &Crate<'_>, steps: &mut Steps) -> Result<PathBuf> {
    let directory = workspace::cache()?.join(format!("{}-{}", wanted.name, wanted.version));
    if let Some(program) = cached::existing(&directory, &Path::new("bin").join(wanted.name)) {
        return Ok(program);
    }
    steps.doing(&format!("compiling {} {} into {}", wanted.name, wanted.version, directory.display()), WHY);
    wanted.install(&directory, |_| {})
}
