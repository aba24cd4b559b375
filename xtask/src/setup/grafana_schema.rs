//! Grafana's own types of a dashboard, and the compiler that holds ours to them: Grafana's server is not at hand in the tests.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{
    cached,
    step::{Detail, Steps},
};
use crate::{exec, workspace};

/// The types, of the Grafana that deploy/compose starts.
const SCHEMA: &str = "11.6.0";
const COMPILER: &str = "5.9.3";

/// Where `node_modules` has both.
pub(crate) fn grafana_schema() -> Result<PathBuf> {
    const WHY: &str = "the dashboards are held to Grafana's types; some seconds, once for this user";
    let directory = workspace::cache()?.join(format!("grafana-schema-{SCHEMA}-{COMPILER}"));
    let file = Path::new("node_modules/typescript/bin/tsc");
    let mut steps = Steps::new(Detail::Changes);
    if cached::existing(&directory, file).is_none() {
        steps.doing(&format!("fetching Grafana's types into {}", directory.display()), WHY);
        let partial = cached::beside(&directory, "partial");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&partial);
        npm.args([format!("@grafana/schema@{SCHEMA}"), format!("typescript@{COMPILER}")]);
        exec::run_long("fetching Grafana's types", &mut npm)?;
        cached::adopt(&partial, &directory, file)?;
    }
    steps.finish();
    Ok(directory)
}
