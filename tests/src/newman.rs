//! newman, which runs a Postman collection, and what it says of the run.

use std::{collections::BTreeMap, env, fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{self, Output};

/// Where the collection of the agent's own API is, beside its environment.
pub const COLLECTION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postman/traffic-probe.postman_collection.json");
const ENVIRONMENT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/postman/traffic-probe.postman_environment.json");

/// A run of a few dozen requests takes seconds.
const LIMIT: Duration = Duration::from_mins(1);

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// What newman ended with: 0 if nothing failed, else 1.
    pub code: Option<i32>,
    /// How many requests of the collection were made.
    pub requests: usize,
    /// Assertions of each request, in their order: `folder/request: assertion`.
    pub assertions: Vec<String>,
    /// Those that failed.
    pub failed: Vec<String>,
}

/// newman, as `cargo xtask test` has installed it.
pub fn program() -> Result<PathBuf> {
    const VARIABLE: &str = "TRAFFIC_PROBE_NEWMAN";
    env::var_os(VARIABLE).map(PathBuf::from).with_context(|| {
        format!("{VARIABLE} is not set: `cargo xtask test e2e` installs newman and says where it is")
    })
}

/// Runs the collection of the agent's API with some variables of its environment set.
pub fn run(variables: &[(&str, &str)]) -> Result<Run> {
    let directory = tempfile::tempdir()?;
    let export = directory.path().join("run.json");
    let mut command = Command::new(program()?);
    command.args(["run", COLLECTION, "--environment", ENVIRONMENT, "--timeout-request", "10000"]);
    command.args(["--reporters", "json", "--reporter-json-export"]).arg(&export);
    for (name, value) in variables {
        command.args(["--env-var", &format!("{name}={value}")]);
    }
    let Output { status, stdout, stderr, .. } = process::run(&mut command, LIMIT)?;
    let text = fs::read(&export).with_context(|| format!("newman ended with {status}: {stdout}{stderr}"))?;
    let report: Value = serde_json::from_slice(&text).context("what newman reports")?;
    let executions = report["run"]["executions"].as_array().context("executions")?;
    ensure!(!executions.is_empty(), "newman ran no request: {stdout}{stderr}");
    // A request whose script sends others is told once for each of them, always as a whole.
    let mut turns = BTreeMap::new();
    for execution in executions {
        let turn = execution["cursor"]["position"].as_u64().context("a position")?;
        turns.insert(turn, execution);
    }
    let mut run =
        Run { code: status.code(), requests: turns.len(), assertions: Vec::new(), failed: Vec::new() };
    for execution in turns.values() {
        let request = execution["item"]["name"].as_str().context("the name of a request")?;
        for assertion in execution["assertions"].as_array().into_iter().flatten() {
            let name = format!("{request}: {}", assertion["assertion"].as_str().context("its name")?);
            if !assertion["error"].is_null() {
                run.failed.push(name.clone());
            }
            run.assertions.push(name);
        }
    }
    Ok(run)
}
