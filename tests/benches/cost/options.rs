//! What to measure, and for how long: the words that `cargo xtask bench` passes on.

use std::{fmt, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

/// The command line.
#[derive(Parser)]
pub(crate) struct Options {
    /// The parts.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Fewer and shorter rounds.
    #[arg(long)]
    pub(crate) quick: bool,
    /// How many rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only cases whose name holds this.
    #[arg(long)]
    only: Option<String>,
    /// A document to put the tables into.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
    /// Where the results go.
    #[arg(long, env = "TRAFFIC_PROBE_BENCH_OUT", default_value = "target/bench")]
    pub(crate) out: PathBuf,
    /// Cargo says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What the observed servers pay.
    Application,
    /// What the programs in the kernel take.
    Kernel,
    /// What the agent takes, by number of series.
    Agent,
    /// What a user would take instead of the probe.
    Alternatives,
}

impl Options {
    /// The parts that were asked for; all if none was.
    pub(crate) fn parts(&self) -> Vec<Part> {
        if self.parts.is_empty() { Part::value_variants().to_vec() } else { self.parts.clone() }
    }

    /// How many rounds. Five are the fewest in which a difference can show itself at all: see [`crate::paired`].
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 5 } else { 11 }).max(1)
    }

    /// How long a load lasts.
    pub(crate) fn load(&self) -> Duration {
        if self.quick { Duration::from_secs(1) } else { Duration::from_secs(3) }
    }

    /// Whether a case was asked for.
    pub(crate) fn admits(&self, case: &str) -> bool {
        self.only.as_ref().is_none_or(|only| case.contains(only.as_str()))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Kernel => "kernel",
            Self::Agent => "agent",
            Self::Alternatives => "alternatives",
        })
    }
}
