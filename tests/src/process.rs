//! Programs that a test starts: none outlives it, and what they said can be read.

use std::{
    fs::File,
    os::unix::{fs::FileExt, process::CommandExt},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

use crate::poll;

/// How long a program may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// A running program, ended when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    program: String,
    stdout: File,
    stderr: File,
    started: Instant,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub time: Duration,
}

impl Process {
    /// Starts a program. What it writes goes to files without a name, which go with it.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        // Should the whole run be killed, no drop runs: the kernel then tells the program.
        // SAFETY: between fork and exec only a system call is made.
        unsafe {
            command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGTERM)?));
        }
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Self { child, program, stdout, stderr, started })
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error.
    pub fn stderr(&self) -> Result<String> {
        text(&self.stderr)
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(pid(&self.child)?, signal).with_context(|| format!("cannot send {signal} to {}", self.program))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<Output> {
        let what = format!("the end of {}", self.program);
        let status = poll::until_within(limit, &what, || Ok(self.child.try_wait()?)).with_context(|| {
            let said = self.stderr().unwrap_or_default();
            format!("{} goes on; on standard error: {said}", self.program)
        })?;
        Ok(Output {
            status,
            stdout: text(&self.stdout)?,
            stderr: text(&self.stderr)?,
            time: self.started.elapsed(),
        })
    }

    /// Asks it to end, and waits until it does.
    pub fn terminate(&mut self) -> Result<Output> {
        if self.ended()?.is_none() {
            self.signal(Signal::SIGTERM)?;
            // One that stands still hears it when it goes on.
            self.signal(Signal::SIGCONT)?;
        }
        self.wait(GRACE)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Err(error) = self.terminate() else { return };
        let _ = self.child.kill();
        let _ = self.child.wait();
        complain(&format!("{} had to be killed: {error:#}", self.program));
    }
}

/// Runs a program to its end, which must come within the limit.
pub fn run(command: &mut Command, limit: Duration) -> Result<Output> {
    Process::spawn(command)?.wait(limit)
}

/// Runs a program that must succeed, and gives what it wrote to standard output.
pub fn run_well(command: &mut Command, limit: Duration) -> Result<String> {
    let output = run(command, limit)?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        output.stderr,
        output.stdout
    );
    Ok(output.stdout)
}

/// Fails the test from within a drop; if it fails already, only says so, since a second panic would end the run.
///
/// # Panics
/// That is how it fails the test.
pub fn complain(sentence: &str) {
    assert!(thread::panicking(), "{sentence}");
    eprintln!("while failing: {sentence}");
}

fn pid(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

fn text(file: &File) -> Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    // By offset: the program shares the file's position.
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
