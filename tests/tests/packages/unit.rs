//! The unit, as systemd judges it, and whether the agent gets along with its system calls.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    client::{Client, Request},
    poll, ports,
    process::{self, Process},
    tool,
};

const LIMIT: Duration = Duration::from_mins(1);

/// Ten times the exposure that docs/operations/systemd.md states, as `--threshold` wants it.
const EXPOSURE: &str = "32";

fn unit() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/traffic-probe.service")
}

#[test]
fn systemd_has_nothing_to_say() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("traffic-probe.service");
    let agent = tool::agent()?;
    // Where the package is not installed, the program is elsewhere.
    let text = fs::read_to_string(unit())?.replace("/usr/bin/traffic-probe", &agent.display().to_string());
    fs::write(&copy, text)?;
    let mut command = tool::command("systemd-analyze")?;
    let output = process::run(command.args(["verify", "--man=no"]).arg(&copy), LIMIT)?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{}: {}", output.status, output.stderr);
    Ok(())
}

#[test]
fn it_is_as_little_exposed_as_is_stated() -> Result<()> {
    let mut command = tool::command("systemd-analyze")?;
    command.args(["security", "--no-pager", "--offline=yes", "--threshold", EXPOSURE]).arg(unit());
    let output = process::run(&mut command, LIMIT)?;
    let verdict = output.stdout.lines().last().unwrap_or_default().to_owned();
    println!("{verdict}");
    ensure!(output.status.success(), "{verdict}");
    let stated =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/systemd.md"))?;
    let figure = verdict.split_whitespace().rev().nth(2).context("no figure")?;
    ensure!(
        stated.contains(&format!("exposure of {figure} ")),
        "docs/operations/systemd.md does not state {figure}"
    );
    Ok(())
}

/// The names in a set of system calls, such as `@file-system`, or the name itself.
fn expand(name: &str) -> Result<BTreeSet<String>> {
    if !name.starts_with('@') {
        return Ok([name.to_owned()].into());
    }
    let mut command = tool::command("systemd-analyze")?;
    let said = process::run_well(command.args(["syscall-filter", "--no-pager", name]), LIMIT)?;
    let mut calls = BTreeSet::new();
    for line in said.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        calls.extend(expand(line)?);
    }
    Ok(calls)
}

/// What the unit lets its program call.
fn allowed() -> Result<BTreeSet<String>> {
    let mut allowed = expand("@default")?;
    for line in fs::read_to_string(unit())?.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let refused = line.strip_prefix('~');
        for name in refused.unwrap_or(line).split_whitespace() {
            for call in expand(name)? {
                if refused.is_some() {
                    allowed.remove(&call)
                } else {
                    allowed.insert(call)
                };
            }
        }
    }
    Ok(allowed)
}

#[test]
fn the_agent_calls_nothing_that_the_unit_refuses() -> Result<()> {
    tool::demand_root()?;
    let (directory, port) = (tempfile::tempdir()?, ports::free()?);
    let trace = directory.path().join("trace");
    let mut command: Command = tool::command("strace")?;
    command.args([
        "--follow-forks",
        "--quiet=all",
        "--summary-only",
        "--summary-columns=calls,name",
        "--output",
    ]);
    command.arg(&trace).arg(tool::agent()?).args(["run", "--interval", "100ms", "--lock"]);
    command.arg(directory.path().join("lock")).args(["--listen", &format!("127.0.0.1:{port}")]);
    let mut traced = Process::spawn(&mut command)?;
    poll::until_within(LIMIT, "the agent to be ready", || {
        ensure!(traced.ended()?.is_none(), "it ended: {}", traced.stderr()?);
        let Ok(mut client) = Client::connect(([127, 0, 0, 1], port).into()) else { return Ok(None) };
        let ready = client.exchange(&Request::new("GET", "/readyz").header("Connection: close"))?;
        Ok((ready.status == 200).then_some(()))
    })?;
    let mut client = Client::connect(([127, 0, 0, 1], port).into())?;
    ensure!(client.exchange(&Request::new("GET", "/metrics"))?.status == 200, "no metrics");
    // The signal is for the agent; strace ends with it. Its children are the only ones of this process's child.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", traced.id()))?;
    let agent = children.split_whitespace().next().context("strace has no child")?.parse()?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(agent), Signal::SIGTERM)?;
    traced.wait(LIMIT)?;
    // Ahead of the table strace may note, behind a thread's id, what it can not name: a thread that ended amid a call.
    let trace = fs::read_to_string(&trace)?;
    let called: BTreeSet<_> = trace
        .lines()
        .skip_while(|line| !is_rule(line))
        .skip(1)
        .take_while(|line| !is_rule(line))
        .filter_map(|line| Some(line.trim().split_once(' ')?.1.trim().to_owned()))
        .collect();
    ensure!(called.contains("bpf") && called.len() > 30, "strace saw little: {called:?}");
    let allowed = allowed()?;
    // What starts a program is called before the filter is there for it.
    let refused: Vec<_> = called.difference(&allowed).filter(|call| *call != "execve").collect();
    ensure!(refused.is_empty(), "the unit refuses what the agent calls: {refused:?}");
    println!("{} system calls, all among the {} that the unit allows", called.len(), allowed.len());
    Ok(())
}

/// Whether a line of strace's summary is one of the two that its table lies between.
fn is_rule(line: &str) -> bool {
    line.starts_with("---")
}
