//! `redis-benchmark` on its CPU.

use std::time::Duration;

use anyhow::{Context, Result};
use probe_tests::process;

use super::{Done, Latency};
use crate::cpu;

/// How long it may take at most.
const LIMIT: Duration = Duration::from_mins(1);

/// Has it send so many `GET`s, `depth` at a time.
pub(crate) fn run(port: u16, depth: u32, requests: u64) -> Result<Done> {
    let mut command = cpu::pinned(cpu::CLIENT, "redis-benchmark")?;
    command.args([
        "-p",
        &port.to_string(),
        "-c",
        "32",
        "-n",
        &requests.to_string(),
        "-P",
        &depth.to_string(),
    ]);
    let said = process::run_well(command.args(["-t", "get", "-d", "3", "--csv"]), LIMIT)?;
    read(&said, requests)
        .with_context(|| format!("redis-benchmark says what the benchmark does not understand:\n{said}"))
}

/// `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"`
fn read(said: &str, requests: u64) -> Option<Done> {
    let line = said.lines().find(|line| line.starts_with("\"GET\""))?;
    let fields: Vec<f64> = line
        .split(',')
        .skip(1)
        .map(|field| field.trim_matches('"').parse())
        .collect::<Result<_, _>>()
        .ok()?;
    let [rate, _, _, median, _, tail, _] = fields[..] else { return None };
    let milliseconds = |value: f64| Duration::try_from_secs_f64(value / 1e3).ok();
    let time = Duration::try_from_secs_f64(requests as f64 / rate).ok()?;
    let latency = Latency { median: milliseconds(median)?, tail: milliseconds(tail)? };
    Some(Done { requests, time, latency: Some(latency) })
}
