//! A replay that a signal ends shows what it has read.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use probe_tests::{
    capture::Capture,
    client::{Client, Request},
    nginx::Nginx,
    poll, tool,
};
use serde_json::Value;
use tempfile::TempDir;

/// Its own patience is two seconds.
const LIMIT: Duration = Duration::from_secs(10);

const REQUESTS: u64 = 10;

fn ask(nginx: &Nginx) -> Result<()> {
    let mut client = Client::connect(nginx.ipv4())?;
    for _ in 0..REQUESTS {
        client.exchange(&Request::new("GET", "/ok"))?;
    }
    Ok(())
}

/// `tcpdump ... | traffic-probe replay -`, and Ctrl-C: the terminal sends SIGINT to all of the pipeline.
#[test]
fn ctrl_c_ends_a_pipeline_with_a_report() -> Result<()> {
    tool::demand_root()?;
    let nginx = Nginx::start()?;
    let directory = TempDir::with_prefix("traffic-probe-stop-")?;
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (copy, report, log) = (file("copy"), file("report"), file("log"));
    let agent = tool::agent()?;
    let line = format!(
        "tcpdump -i lo -B 65536 -U --immediate-mode -Z root -w - 'port {}' 2>{log} | tee {copy} | {} replay - --format json >{report}",
        nginx.port(),
        agent.display(),
    );
    let mut shell = Command::new("sh").args(["-c", &line]).process_group(0).spawn()?;
    let group = Pid::from_raw(i32::try_from(shell.id())?);
    let said = |name: &str| fs::read(name).unwrap_or_default();
    let worked = (|| {
        poll::until("tcpdump to listen", || {
            Ok(String::from_utf8_lossy(&said(&log)).contains("listening on ").then_some(()))
        })?;
        ask(&nginx)?;
        // The last thing that is said: everything before it has been written to the replay by then.
        let last = b"GET /nobody-asks-for-this HTTP/1.1";
        Client::connect(nginx.ipv4())?.exchange(&Request::new("GET", "/nobody-asks-for-this"))?;
        poll::until("the last request to pass the pipeline", || {
            Ok(said(&copy).windows(last.len()).any(|bytes| bytes == last).then_some(()))
        })?;
        ensure!(said(&report).is_empty(), "it shows something before its end");
        killpg(group, Signal::SIGINT)?;
        poll::until_within(poll::here(LIMIT), "the replay to show its report", || {
            Ok(serde_json::from_slice::<Value>(&said(&report)).ok())
        })
    })();
    // Whatever failed: nothing of it stays.
    _ = killpg(group, Signal::SIGKILL);
    shell.wait()?;
    let document: Value = worked?;
    let service = &document["services"][0];
    ensure!(service["by_status"][0]["status"] == "200", "{document}");
    ensure!(service["by_status"][0]["count"] == REQUESTS, "{document}");
    Ok(())
}

/// A signal to the replay alone, while the writer of the capture keeps the pipe open.
#[test]
fn a_signal_ends_a_replay_whose_source_goes_on() -> Result<()> {
    let nginx = Nginx::start()?;
    let capture = Capture::start(nginx.port())?;
    ask(&nginx)?;
    let captured = fs::read(capture.finish()?.file())?;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut replay = Command::new(tool::agent()?)
            .args(["replay", "-", "--format", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let number = Pid::from_raw(i32::try_from(replay.id())?);
        let mut source = replay.stdin.take().context("no pipe")?;
        // All of it, and the start of another record.
        source.write_all(&captured)?;
        source.write_all(&[0; 7])?;
        let caught = format!("/proc/{number}/status");
        let worked = (|| {
            poll::until("the replay to catch signals", || {
                let status = fs::read_to_string(&caught)?;
                let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
                let mask = u64::from_str_radix(mask.context("no SigCgt")?.trim(), 16)?;
                Ok((mask >> (signal as u32 - 1) & 1 == 1).then_some(()))
            })?;
            kill(number, signal)?;
            poll::until_within(poll::here(LIMIT), "the replay to end", || Ok(replay.try_wait()?))
        })();
        if worked.is_err() {
            replay.kill()?;
        }
        let output = replay.wait_with_output()?;
        let status = worked?;
        drop(source);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(status.success() && said.is_empty(), "{signal}: {status}: {said}");
        let document: Value = serde_json::from_slice(&output.stdout).context("no report")?;
        ensure!(document["services"][0]["requests"] == REQUESTS, "{signal}: {document}");
        let capture = &document["capture"];
        ensure!(capture["stopped"] == true && capture["truncated"] == false, "{signal}: {capture}");
    }
    Ok(())
}
