//! Scripts of bpftrace at the system call by which nginx sends a reply. They tell neither statuses nor times: what more they
//! told would cost more.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use probe_tests::{poll, process, process::Process, tool};
use serde_json::Value;
use tempfile::TempDir;

use super::{capture::IN_MEMORY, condition::Running, waiting};

/// What a script does with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Sends a line to user space.
    Stream,
    /// Counts it in the kernel.
    Map,
}

/// A running script, ended when dropped.
pub(crate) struct Script {
    what: What,
    bpftrace: Process,
    directory: TempDir,
}

/// nginx sends a reply that is in memory by this, head and body at once.
const SYSTEM_CALL: &str = "sys_enter_writev";

/// Compiling takes a moment.
const LIMIT: Duration = Duration::from_secs(30);

impl Script {
    /// Starts one for a process.
    pub(crate) fn start(what: What, server: u32) -> Result<Self> {
        let directory = TempDir::with_prefix_in("traffic-probe-bench-", IN_MEMORY)?;
        let action = match what {
            What::Stream => r#"printf("reply %llu %d %d\n", nsecs, tid, args->fd);"#,
            What::Map => "@replies = count();",
        };
        let script = directory.path().join("script.bt");
        fs::write(&script, format!("tracepoint:syscalls:{SYSTEM_CALL} /pid == {server}/ {{ {action} }}\n"))?;
        let mut command = tool::command("bpftrace")?;
        // Sixteen times the usual buffer between kernel and script: 4 MiB for each CPU.
        command.env("BPFTRACE_PERF_RB_PAGES", "1024").arg("-o").arg(output(&directory)).arg(&script);
        let mut bpftrace = Process::spawn(&mut command)?;
        poll::until_within(LIMIT, "a script to be attached", || {
            if let Some(status) = bpftrace.ended()? {
                bail!("bpftrace ended with {status}: {}", bpftrace.stderr()?);
            }
            Ok(attached(bpftrace.id())?.then_some(()))
        })?;
        Ok(Self { what, bpftrace, directory })
    }
}

impl Script {
    /// Ends it, upon which it writes what it holds back, and its maps.
    ///
    /// A signal that comes while it does not wait for events is lost on it, which happens on a busy machine; one that
    /// comes while it writes would end it at once.
    fn end(&mut self) -> Result<()> {
        const ASKS: usize = 6;
        for _ in 0..ASKS {
            self.bpftrace.signal(Signal::SIGINT)?;
            if let Ok(output) = self.bpftrace.wait(LIMIT / 6) {
                ensure!(output.status.success(), "bpftrace ended with {}: {}", output.status, output.stderr);
                return Ok(());
            }
        }
        bail!("bpftrace does not end when it is asked to: {}", self.bpftrace.stderr()?)
    }
}

/// Whether the kernel has it at the tracepoint: what bpftrace says comes before.
fn attached(process: u32) -> Result<bool> {
    let mut bpftool = tool::command("bpftool")?;
    let said = process::run_well(bpftool.args(["--json", "perf", "show"]), LIMIT)?;
    let all: Value = serde_json::from_str(&said).context("bpftool perf show")?;
    Ok(all
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["pid"] == process && one["tracepoint"] == SYSTEM_CALL)))
}

impl Running for Script {
    fn process(&self) -> Option<u32> {
        Some(self.bpftrace.id())
    }

    fn catch_up(&mut self, _requests: u64) -> Result<()> {
        if self.what == What::Map {
            return Ok(());
        }
        let file = output(&self.directory);
        waiting::caught_up(u64::MAX, || Ok(fs::metadata(&file)?.len()))
    }

    fn requests(&mut self) -> Result<Option<u64>> {
        self.end()?;
        let said = fs::read_to_string(output(&self.directory))?;
        let count = match self.what {
            What::Stream => said.lines().filter(|line| line.starts_with("reply ")).count() as u64,
            What::Map => {
                let count = said.lines().find_map(|line| line.strip_prefix("@replies: "));
                count.with_context(|| format!("bpftrace shows no count:\n{said}"))?.parse()?
            }
        };
        Ok(Some(count))
    }
}

fn output(directory: &TempDir) -> PathBuf {
    directory.path().join("output")
}
