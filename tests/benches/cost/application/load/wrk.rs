//! `wrk` on its CPU.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::process;

use super::{Done, Latency, Server};
use crate::cpu;

/// How requests follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One at a time on each connection.
    Plain,
    /// Sixteen at a time.
    Pipelined,
    /// Each on a connection of its own.
    Close,
}

/// Has `wrk` ask for a path of a server by a port: its own, or that of a proxy in front.
pub(crate) fn run(
    server: &Server,
    port: u16,
    path: &str,
    connections: u32,
    manner: Manner,
    time: Duration,
) -> Result<Done> {
    let mut command = cpu::pinned(cpu::CLIENT, "wrk")?;
    command.args(["--threads", "1", "--latency", "--timeout", "10s"]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--duration", &format!("{}s", time.as_secs())]);
    match manner {
        Manner::Plain => {}
        Manner::Pipelined => {
            let script = server.directory().join("pipeline.lua");
            fs::write(&script, pipeline(path))?;
            command.arg("--script").arg(script);
        }
        Manner::Close => {
            command.args(["--header", "Connection: close"]);
        }
    }
    let said = process::run_well(
        command.arg(format!("http://127.0.0.1:{port}{path}")),
        time + Duration::from_secs(20),
    )?;
    ensure!(!said.contains("Non-2xx"), "not every request was answered well:\n{said}");
    let mut done =
        read(&said).with_context(|| format!("wrk says what the benchmark does not understand:\n{said}"))?;
    if manner == Manner::Pipelined {
        // It adds requests that it takes to have been late, by the mean time between two on a connection, which has nothing
        // to do with when those of a pipeline are due; some of its percentiles come out as zero then.
        done.latency = None;
    }
    Ok(done)
}

fn pipeline(path: &str) -> String {
    format!(
        "function init(args)\n  local all = {{}}\n  for i = 1, 16 do all[i] = wrk.format(\"GET\", \"{path}\") end\n  \
         pipeline = table.concat(all)\nend\nfunction request() return pipeline end\n"
    )
}

fn read(said: &str) -> Option<Done> {
    let (requests, rest) = said.split_once(" requests in ")?;
    let requests = requests.rsplit([' ', '\n']).next()?.parse().ok()?;
    let time = duration(rest.split_once(',')?.0)?;
    let percentile = |share: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(share))?;
        duration(line.trim())
    };
    let latency = Latency { median: percentile("50%")?, tail: percentile("99%")? };
    Some(Done { requests, time, latency: Some(latency) })
}

/// `1.23ms` and the like.
fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}
