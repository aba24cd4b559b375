//! The schemas of Kubernetes' objects, and the program that holds manifests to them: of `PyPI`, so that no cluster of each version
//! is needed.

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

/// Its versions follow Kubernetes': it has the schemas of that one and of those before it.
const VERSION: &str = "1.37.0";

/// What fetches it, and brings the Python that runs it.
pub(super) const TOOLS: [Tool; 1] = [tool("pip3", "python3-pip", "it fetches kubernetes-validate")];

/// Where it is, as Python looks for modules.
pub(crate) fn schemas() -> Result<PathBuf> {
    const WHY: &str = "manifests are held to the schemas of three versions; some seconds, once for this user";
    let directory = workspace::cache()?.join(format!("kubernetes-validate-{VERSION}"));
    let file = Path::new("kubernetes_validate/__main__.py");
    let mut steps = Steps::new(Detail::Changes);
    if cached::existing(&directory, file).is_none() {
        let mut changes = SystemChanges::default();
        tools::collect(&TOOLS, &mut changes, &steps)?;
        changes.apply_or_offer(&mut steps)?;
        steps.doing(&format!("fetching kubernetes-validate into {}", directory.display()), WHY);
        let partial = cached::beside(&directory, "partial");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]);
        pip.args(["--root-user-action=ignore", "--target"]);
        pip.arg(&partial).arg(format!("kubernetes-validate=={VERSION}"));
        exec::run_long("fetching kubernetes-validate", &mut pip)?;
        cached::adopt(&partial, &directory, file)?;
    }
    steps.finish();
    Ok(directory)
}
