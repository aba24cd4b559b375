//! tcpdump writes the server's packets to a file, in which the requests are then looked for.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use probe_tests::{capture, poll, process, process::Process, tool};
use serde_json::Value;
use tempfile::TempDir;

use super::{condition::Running, waiting};

/// For what is written meanwhile: no disk is to be measured.
pub(crate) const IN_MEMORY: &str = "/dev/shm";

/// For the replay of all that was captured.
const LIMIT: Duration = Duration::from_mins(2);

/// It, ended when dropped.
pub(crate) struct Capture {
    tcpdump: Process,
    directory: TempDir,
    port: u16,
}

impl Capture {
    /// Starts to capture what goes to a port, and comes from it.
    pub(crate) fn start(port: u16) -> Result<Self> {
        let directory = TempDir::with_prefix_in("traffic-probe-bench-", IN_MEMORY)?;
        let mut command = tool::command("tcpdump")?;
        // Whole packets, since sixteen requests that come together are more than a first few hundred bytes. 64 MiB of
        // buffer, where 2 are usual. No change of user, who could not write here.
        command.args(["-i", "lo", "-n", "-B", "65536", "-Z", "root", "-w"]).arg(file(&directory));
        let mut tcpdump = Process::spawn(command.arg(format!("tcp port {port}")))?;
        poll::until("tcpdump to listen", || {
            if let Some(status) = tcpdump.ended()? {
                bail!("tcpdump ended with {status}: {}", tcpdump.stderr()?);
            }
            Ok(tcpdump.stderr()?.contains("listening on ").then_some(()))
        })?;
        Ok(Self { tcpdump, directory, port })
    }
}

impl Running for Capture {
    fn process(&self) -> Option<u32> {
        Some(self.tcpdump.id())
    }

    fn catch_up(&mut self, _requests: u64) -> Result<()> {
        let file = file(&self.directory);
        waiting::caught_up(u64::MAX, || Ok(fs::metadata(&file)?.len()))
    }

    fn requests(&mut self) -> Result<Option<u64>> {
        self.tcpdump.signal(Signal::SIGINT)?;
        let said = self.tcpdump.wait(LIMIT)?.stderr;
        let dropped = said.lines().find_map(|line| line.strip_suffix(" packets dropped by kernel"));
        let dropped = dropped.with_context(|| format!("tcpdump does not say what was dropped:\n{said}"))?;
        if dropped != "0" {
            eprintln!("bench:     {dropped} packets were dropped");
        }
        found(&file(&self.directory), self.port).map(Some)
    }
}

/// How many answers are in the capture.
fn found(file: &std::path::Path, port: u16) -> Result<u64> {
    let said = process::run_well(&mut capture::replay(file)?, LIMIT)?;
    let report: Value = serde_json::from_str(&said).context("replay --format json")?;
    ensure!(report["capture"]["truncated"] == false, "the capture is cut off: {}", report["capture"]);
    let services = report["services"].as_array().context("replay tells no services")?;
    let ours = services
        .iter()
        .find(|service| service["service"].as_str().is_some_and(|name| name.ends_with(&format!(":{port}"))));
    ours.map_or(Ok(0), |service| service["responses"].as_u64().context("replay counts no responses"))
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("capture.pcap")
}
