//! nginx writes its access log as it does by default, and mtail makes metrics of its lines.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::Result;
use probe_tests::{metrics::Series, ports, process::Process, tool};
use tempfile::TempDir;

use super::{capture::IN_MEMORY, condition::Running, exporter, waiting};
use crate::application::Server;

/// The reader, ended when dropped.
pub(crate) struct Log {
    process: Process,
    metrics: u16,
    _directory: TempDir,
}

/// Requests by method and status, of the log's format `combined`.
const PROGRAM: &str = r#"counter http_requests_total by method, status

/"(?P<method>[A-Z]+) \S+ HTTP\/[0-9.]+" (?P<status>\d{3}) / {
  http_requests_total[$method][$status]++
}
"#;

impl Log {
    /// Starts it, and a server that writes the log.
    pub(crate) fn start() -> Result<(Self, Server)> {
        let directory = TempDir::with_prefix_in("traffic-probe-bench-", IN_MEMORY)?;
        let root = directory.path();
        let log = root.join("access.log");
        File::create(&log)?;
        let server = Server::logging(&log)?;
        let metrics = ports::free()?;
        let mut process = Process::spawn(&mut reader(root, &log, metrics)?)?;
        exporter::ready(&mut process, metrics)?;
        Ok((Self { process, metrics, _directory: directory }, server))
    }

    fn counted(&self) -> Result<u64> {
        exporter::count(self.metrics, &Series::named("http_requests_total").with("status", 200))
    }
}

impl Running for Log {
    fn process(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn catch_up(&mut self, requests: u64) -> Result<()> {
        waiting::caught_up(requests, || self.counted())
    }

    fn requests(&mut self) -> Result<Option<u64>> {
        self.counted().map(Some)
    }
}

fn reader(root: &Path, log: &Path, metrics: u16) -> Result<std::process::Command> {
    let programs = root.join("programs");
    fs::create_dir(&programs)?;
    fs::write(programs.join("requests.mtail"), PROGRAM)?;
    let mut command = tool::command("mtail")?;
    command.arg("-progs").arg(programs).arg("-logs").arg(log).arg("-log_dir").arg(root);
    command.args(["-address", "127.0.0.1", "-port", &metrics.to_string()]);
    Ok(command)
}
