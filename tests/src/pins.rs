//! A directory for what an agent pins, of which nothing is left when the test ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    bpf::Footprint,
    machine::{self, Turn, Use},
    process::{self, Output, complain},
    tool,
};

const BPFFS: &str = "/sys/fs/bpf";

const LIMIT: Duration = Duration::from_secs(10);

/// A directory of the test's own on a bpffs. Dropped, it has `traffic-probe detach` clean it, and makes sure that
/// nothing of any agent that pinned there is in the kernel.
#[derive(Debug)]
pub struct PinDirectory {
    path: PathBuf,
    lock: TempDir,
    held: Mutex<Footprint>,
    /// For all its agents, and for what is at work between them.
    _turn: Turn,
}

impl PinDirectory {
    /// A new one: its path, that is; the agent makes the directory. While there is one, the test has the machine.
    pub fn new() -> Result<Self> {
        Self::with(Use::Shared)
    }

    /// The same with no other test beside it, for one that measures time.
    pub fn alone() -> Result<Self> {
        Self::with(Use::Alone)
    }

    fn with(usage: Use) -> Result<Self> {
        tool::demand_root()?;
        let turn = machine::take(usage)?;
        // On a bpffs, a name has no dot.
        let made = tempfile::Builder::new().prefix("traffic-probe-test-").tempdir_in(BPFFS);
        let made = made.with_context(|| format!("cannot make a directory on the bpffs {BPFFS}"))?;
        let path = made.path().to_owned();
        made.close()?;
        Ok(Self { path, lock: tempfile::tempdir()?, held: Mutex::default(), _turn: turn })
    }

    /// Where it is, or will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory whose lock its agents take.
    #[must_use]
    pub fn lock(&self) -> &Path {
        self.lock.path()
    }

    /// Notes what an agent holds in the kernel.
    pub(crate) fn note(&self, held: &Footprint) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).add(held);
    }

    /// The directories of the layouts that are pinned.
    pub fn layouts(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.path).with_context(|| format!("{}", self.path.display()))?;
        Ok(entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?)
    }

    /// Runs `traffic-probe detach` on it.
    pub fn detach(&self) -> Result<Output> {
        let mut command = Command::new(tool::agent()?);
        command.arg("detach").arg("--pin").arg(&self.path).arg("--lock").arg(self.lock());
        process::run(&mut command, LIMIT)
    }

    /// Makes sure that the directory has gone, and with it everything that any agent has held.
    pub fn is_gone(&self) -> Result<()> {
        ensure!(!self.path.exists(), "{} is left", self.path.display());
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        held.is_gone()
    }

    fn clean(&self) -> Result<()> {
        let output = self.detach()?;
        ensure!(output.status.success(), "detach ended with {}: {}", output.status, output.stderr);
        self.is_gone()
    }
}

impl Drop for PinDirectory {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            complain(&format!("what was pinned at {} has not gone cleanly: {error:#}", self.path.display()));
        }
    }
}
