//! `h2load` on its CPU, over HTTP/2 without TLS.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::process;

use super::{Done, Latency, Server};
use crate::cpu;

/// Has `h2load` ask for a path, on so many streams of each connection.
pub(crate) fn run(
    server: &Server,
    path: &str,
    connections: u32,
    streams: u32,
    time: Duration,
) -> Result<Done> {
    let log = server.directory().join("h2load.log");
    let _ = fs::remove_file(&log);
    let mut command = cpu::pinned(cpu::CLIENT, "h2load")?;
    command.args(["--clients", &connections.to_string(), "--max-concurrent-streams", &streams.to_string()]);
    command.args(["--duration", &time.as_secs().to_string()]).arg(format!("--log-file={}", log.display()));
    command.arg(format!("http://127.0.0.1:{}{path}", server.http2_port()));
    let said = process::run_well(&mut command, time + Duration::from_secs(20))?;
    ensure!(said.contains(" 0 failed, 0 errored"), "not every request was answered:\n{said}");
    read(&fs::read_to_string(&log)?, time)
        .with_context(|| format!("h2load logs what the benchmark does not understand:\n{said}"))
}

/// Lines of start, status, and microseconds that it took.
fn read(log: &str, time: Duration) -> Option<Done> {
    let mut times: Vec<u64> = Vec::new();
    for line in log.lines() {
        times.push(line.rsplit('\t').next()?.trim().parse().ok()?);
    }
    times.sort_unstable();
    let at = |percent: usize| Some(Duration::from_micros(*times.get(times.len() * percent / 100)?));
    let latency = Latency { median: at(50)?, tail: at(99)? };
    Some(Done { requests: times.len() as u64, time, latency: Some(latency) })
}
