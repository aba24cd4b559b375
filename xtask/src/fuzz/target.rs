//! A target: its program, its corpora, and one run of it.

use std::{
    fmt, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::outcome::Outcome;
use crate::{exec, workspace};

/// How often a line tells that it goes on.
const TICK: Duration = Duration::from_secs(10);
/// The longest input, in bytes.
const LONGEST: &str = "-max_len=4096";

/// A fuzz target.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) name: String,
}

/// How much is done.
#[derive(Clone, Copy)]
pub(super) enum Effort {
    Runs(u64),
    Time(Duration),
}

/// Where targets are built, and what they find is kept.
pub(super) fn directory() -> PathBuf {
    workspace::target().join("fuzz")
}

impl Target {
    /// Every target that there is.
    pub(super) fn all() -> Result<Vec<Self>> {
        let directory = workspace::root().join("fuzz/fuzz_targets");
        let files =
            fs::read_dir(&directory).with_context(|| format!("could not read {}", directory.display()))?;
        let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
        let mut names: Vec<_> = files.flatten().filter_map(|file| name(file.path())).collect();
        names.sort_unstable();
        Ok(names.into_iter().map(|name| Self { name }).collect())
    }

    /// How many executions belong to a test run: some seconds of them.
    pub(super) fn runs_in_a_test(&self) -> u64 {
        if self.name == "engine" { 1_000_000 } else { 2_000_000 }
    }

    /// The corpus that is checked in.
    fn corpus(&self) -> PathBuf {
        workspace::root().join("fuzz/corpus").join(&self.name)
    }

    /// What was found on this machine.
    fn finds(&self) -> PathBuf {
        directory().join("finds").join(&self.name)
    }

    fn program(&self, triple: &str) -> Command {
        Command::new(directory().join(triple).join("release").join(&self.name))
    }

    /// Runs it over its corpora, then over what libFuzzer makes of them. All that it says goes to a file.
    pub(super) fn run(&self, triple: &str, effort: Effort) -> Result<Outcome> {
        let crashes = directory().join("crashes");
        for directory in [&self.finds(), &self.corpus(), &crashes] {
            fs::create_dir_all(directory)
                .with_context(|| format!("could not create {}", directory.display()))?;
        }
        let mut program = self.program(triple);
        program.arg(self.finds()).arg(self.corpus()).args([LONGEST, "-print_final_stats=1", "-timeout=10"]);
        program.arg(match effort {
            // Of the same seed, a run of a test is the same everywhere but for what an earlier one found.
            Effort::Runs(runs) => format!("-runs={runs}"),
            Effort::Time(time) => format!("-max_total_time={}", time.as_secs()),
        });
        program.arg("-seed=1").arg(format!("-dict={}", workspace::root().join("fuzz/http1.dict").display()));
        program.arg(format!("-artifact_prefix={}/{}-", crashes.display(), self.name));
        // Ours is shown; libFuzzer's own frames would push the panic's words out of sight.
        program.env("RUST_BACKTRACE", "0");
        let log = directory().join(format!("{}.log", self.name));
        let outcome = follow(&mut program, &log)?;
        if outcome.crash.is_some() {
            eprintln!("{}", outcome.last_words());
        } else if !outcome.ended_well {
            anyhow::bail!(
                "{} did not end well; what it said is in {}",
                exec::quoted(&program),
                log.display()
            );
        }
        Ok(outcome)
    }

    /// Adds to the corpus that is checked in what takes edges that it does not: few and small inputs.
    pub(super) fn keep(&self, triple: &str) -> Result<()> {
        let mut merge = self.program(triple);
        merge
            .args(["-set_cover_merge=1", "-use_counters=0", "-max_len=1500"])
            .arg(self.corpus())
            .arg(self.finds());
        exec::run(merge.stderr(Stdio::null()))
    }
}

/// Starts a target and reads what it says.
fn follow(program: &mut Command, log: &Path) -> Result<Outcome> {
    let mut log_file =
        fs::File::create(log).with_context(|| format!("could not create {}", log.display()))?;
    let mut child = program
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{}`", exec::quoted(program)))?;
    let mut outcome = Outcome::default();
    let mut told = Instant::now();
    let mut said = BufReader::new(child.stderr.take().context("a target without standard error")?);
    let mut line = Vec::new();
    while said.read_until(b'\n', &mut line)? > 0 {
        log_file.write_all(&line)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        outcome.read(&text);
        if text.starts_with('#') && told.elapsed() >= TICK {
            told = Instant::now();
            eprintln!("         ... {text}");
        }
        line.clear();
    }
    outcome.ended_well = child.wait().context("could not wait for a target")?.success();
    Ok(outcome)
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(runs) => write!(f, "{runs} executions"),
            Self::Time(time) => write!(f, "{} s", time.as_secs()),
        }
    }
}
