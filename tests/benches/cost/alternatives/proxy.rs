//! haproxy in front of the server, with its own exporter of metrics.

use std::fs;

use anyhow::Result;
use probe_tests::{metrics::Series, ports, process::Process, tool};
use tempfile::TempDir;

use super::{condition::Running, exporter, waiting};

/// It, ended when dropped.
pub(crate) struct Proxy {
    process: Process,
    port: u16,
    metrics: u16,
    _directory: TempDir,
}

impl Proxy {
    /// Starts one in front of a port.
    pub(crate) fn start(to: u16) -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-bench-")?;
        let [port, metrics] = [ports::free()?, ports::free()?];
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, configuration(port, metrics, to))?;
        let mut process = Process::spawn(tool::command("haproxy")?.args(["-db", "-f"]).arg(&file))?;
        exporter::ready(&mut process, metrics)?;
        Ok(Self { process, port, metrics, _directory: directory })
    }

    /// Where it takes requests.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn answered(&self) -> Result<u64> {
        let series = Series::named("haproxy_frontend_http_responses_total");
        exporter::count(self.metrics, &series.with("proxy", "load").with("code", "2xx"))
    }
}

impl Running for Proxy {
    fn process(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn catch_up(&mut self, requests: u64) -> Result<()> {
        waiting::caught_up(requests, || self.answered())
    }

    fn requests(&mut self) -> Result<Option<u64>> {
        self.answered().map(Some)
    }
}

/// No more than it takes: as many threads as it finds CPUs, connections to the server kept and shared, no log.
fn configuration(port: u16, metrics: u16, to: u16) -> String {
    format!(
        "global
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend load
    bind 127.0.0.1:{port}
    default_backend server
backend server
    server one 127.0.0.1:{to}
frontend exporter
    bind 127.0.0.1:{metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}
"
    )
}
