//! Coverage-guided fuzzing by libFuzzer, with the compiler that is there: what cargo-fuzz asks of a nightly, the
//! compiler's own instrumentation, is reached by flags that the stable one takes, too.

mod outcome;
mod target;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::{
    outcome::Outcome,
    target::{Effort, Target},
};
use crate::{
    exec,
    setup::{self, Group},
    workspace,
};

/// What the compiler is to add to the code of a target: counters of the edges that are taken, a table of where they are,
/// and calls with the values that are compared. Sums that overflow are defects.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions=on",
    "-Ccodegen-units=1",
];
/// How long a target is fuzzed, unless it is said.
const USUAL: Duration = Duration::from_mins(1);

/// What `fuzz` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Which targets; all of them if none is named
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, value_name = "N", conflicts_with = "runs")]
    seconds: Option<u64>,
    /// How many executions of each target, the corpus included
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Puts what of the finds adds coverage into the corpus that is checked in
    #[arg(long)]
    keep: bool,
}

/// Builds targets, runs each, and ends with a table; a crash is an error that says how to see it again.
pub(crate) fn fuzz(options: &Options) -> Result<()> {
    setup::ensure_host(&[Group::Fuzz])?;
    let targets = chosen(&options.targets)?;
    let effort = match (options.runs, options.seconds) {
        (Some(runs), _) => Effort::Runs(runs),
        (None, Some(seconds)) => Effort::Time(Duration::from_secs(seconds)),
        (None, None) => Effort::Time(USUAL),
    };
    let efforts: Vec<_> = targets.into_iter().map(|target| (target, effort)).collect();
    let outcomes = run(&efforts)?;
    if options.keep {
        for (target, _) in &efforts {
            target.keep(&triple()?)?;
        }
    }
    judge(&outcomes)
}

/// The part of a test run: every target, for a number of executions that is the same everywhere.
pub(crate) fn ring() -> Result<()> {
    let efforts: Vec<_> = Target::all()?
        .into_iter()
        .map(|target| (target.clone(), Effort::Runs(target.runs_in_a_test())))
        .collect();
    judge(&run(&efforts)?)
}

fn chosen(names: &[String]) -> Result<Vec<Target>> {
    let all = Target::all()?;
    if names.is_empty() {
        return Ok(all);
    }
    let known: Vec<_> = all.iter().map(|target| target.name.clone()).collect();
    names
        .iter()
        .map(|name| {
            let target = all.iter().find(|target| target.name == *name).cloned();
            target.with_context(|| format!("there is no target `{name}`; there are {}", known.join(", ")))
        })
        .collect()
}

fn run(efforts: &[(Target, Effort)]) -> Result<Vec<(String, Outcome)>> {
    let triple = triple()?;
    build(&triple)?;
    efforts
        .iter()
        .map(|(target, effort)| {
            let started = Instant::now();
            eprintln!("\nfuzz: the target `{}`, for {effort}", target.name);
            let outcome = target.run(&triple, *effort)?;
            eprintln!("fuzz: {outcome} in {:.1} s", started.elapsed().as_secs_f64());
            Ok((target.name.clone(), outcome))
        })
        .collect()
}

/// Compiles the targets into a directory of their own. For a named platform, so that the flags are not those of build
/// scripts.
fn build(triple: &str) -> Result<()> {
    let mut cargo = workspace::host_cargo("build");
    cargo.args(["--package", "probe-fuzz", "--bins", "--release", "--target", triple]);
    cargo.env("CARGO_TARGET_DIR", target::directory()).env("RUSTFLAGS", FLAGS.join(" "));
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    exec::run(&mut cargo)
        .context("the fuzz targets could not be built; libFuzzer is C++ and takes a compiler, c++")
}

/// The platform that this machine's compiler compiles for.
fn triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = exec::output(Command::new(rustc).arg("-vV")).context("rustc does not tell its version")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(Into::into).context("`rustc -vV` names no host")
}

fn judge(outcomes: &[(String, Outcome)]) -> Result<()> {
    println!("\n{:<14} {:>12} {:>8} {:>8} {:>8}  ", "target", "executions", "edges", "features", "inputs");
    for (name, outcome) in outcomes {
        println!("{name:<14} {}", outcome.row());
    }
    let crashes: Vec<_> =
        outcomes.iter().filter_map(|(name, outcome)| Some((name, outcome.crash.as_ref()?))).collect();
    for (name, file) in &crashes {
        println!(
            "\n{name} fails on {file}; to see it again:\n\n    cargo run -p probe-fuzz --bin {name} {file}"
        );
    }
    if crashes.is_empty() { Ok(()) } else { bail!("{} of {} targets fail", crashes.len(), outcomes.len()) }
}
