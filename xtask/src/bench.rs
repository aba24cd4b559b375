//! What the probe costs, measured: builds all that is measured and starts the benchmark. Measuring itself is in
//! `tests/benches/cost`, beside the vocabulary for servers, loads and the agent, and in a crate that may use the kernel.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::{
    build, exec, privilege,
    setup::{self, Group},
    test, workspace,
};

/// What `bench` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Fewer and shorter rounds: about ten minutes for all parts, for a first look
    #[arg(long)]
    quick: bool,
    /// Which parts to measure; all if not given
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// How many rounds, instead of what the form has
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Only cases whose name holds this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Also put the tables into this document, between its two marks: docs/reference/cost.md
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What the observed servers pay: CPU time, throughput and latency
    Application,
    /// What the programs in the kernel take, a packet and a request
    Kernel,
    /// What the agent takes, by number of series
    Agent,
    /// What a user would take instead of the probe: a proxy, a reader of logs, a capture, scripts
    Alternatives,
}

/// Builds the agent, the programs that do nothing and the benchmark, and runs it as root.
pub(crate) fn bench(options: &Options) -> Result<()> {
    let toolchain = setup::ensure(&[Group::Mounts, Group::Tests, Group::Bench])?;
    let object = build::ebpf(&toolchain)?;
    let [nothing, floor] = build::stand_ins(&toolchain)?;
    build::agent(&object)?;
    let mut cargo = workspace::host_cargo("bench");
    cargo.args(["-p", "probe-tests", "--bench", "cost"]);
    cargo.env(build::EBPF_VARIABLE, &object).env("TRAFFIC_PROBE_BIN", workspace::agent());
    cargo.env("TRAFFIC_PROBE_NOTHING", &nothing).env("TRAFFIC_PROBE_FLOOR", &floor);
    cargo.env("PATH", exec::search_path());
    cargo.env("TRAFFIC_PROBE_BENCH_OUT", workspace::target().join("bench"));
    let root = privilege::is_root();
    if !root {
        test::start_by_sudo(&mut cargo, &[]);
    }
    cargo.arg("--").args(arguments(options)?);
    if !root {
        privilege::offer("the benchmark", &cargo)?;
    }
    exec::run(&mut cargo)
}

/// The same options in the words of the benchmark.
fn arguments(options: &Options) -> Result<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let parts = if options.parts.is_empty() { Part::value_variants() } else { &options.parts };
    for part in parts {
        words.push(part.to_possible_value().context("every part has a name")?.get_name().to_owned());
    }
    if options.quick {
        words.push("--quick".into());
    }
    if let Some(rounds) = options.rounds {
        words.extend(["--rounds".into(), rounds.to_string()]);
    }
    if let Some(only) = &options.only {
        words.extend(["--only".into(), only.clone()]);
    }
    if let Some(file) = &options.write {
        // Cargo starts the benchmark in another directory.
        let file = std::path::absolute(file)?.display().to_string();
        words.extend(["--write".into(), file]);
    }
    Ok(words)
}
