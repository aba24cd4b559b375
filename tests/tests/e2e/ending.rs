//! However the agent ends, nothing of it stays in the kernel.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    agent::{Agent, Setup},
    bpf,
    netns::Netns,
    process::Output,
};

/// Ends an agent that has everything in the kernel that it should have, and makes sure that it all goes.
fn end(agent: Agent<'_>, signal: Signal) -> Result<Output> {
    let held = agent.footprint().clone();
    println!("{signal}: held {held:?}");
    ensure!(held.programs.len() >= 6, "the agent holds too few programs: {held:?}");
    ensure!(held.links.len() >= 6, "the agent holds too few links: {held:?}");
    ensure!(held.maps.len() >= 10, "the agent holds too few maps: {held:?}");
    let output = agent.end(signal)?;
    held.is_gone()?;
    Ok(output)
}

fn detaches_and_exits_with_0(signal: Signal) -> Result<()> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    let queues_before = bpf::queues(&near)?;
    let agent = Setup::default().within(&near).start()?;
    // lo and near0
    let attached = bpf::tcx_links(agent.id())?;
    let expected = [("egress".to_owned(), 2), ("ingress".to_owned(), 2)].into();
    ensure!(attached == expected, "attached to interfaces: {attached:?}, expected {expected:?}");
    let output = end(agent, signal)?;
    ensure!(output.status.code() == Some(0), "{signal}: {}", output.status);
    ensure!(output.stderr.contains("detached"), "{signal}: the log does not say so: {}", output.stderr);
    let left = bpf::on_interfaces(&near)?;
    ensure!(left.is_empty(), "{signal} leaves on interfaces: {left:?}");
    let queues = bpf::queues(&near)?;
    ensure!(queues == queues_before, "{signal} changes the queues from\n{queues_before}to\n{queues}");
    Ok(())
}

#[test]
fn a_sigterm_detaches_everything() -> Result<()> {
    detaches_and_exits_with_0(Signal::SIGTERM)
}

#[test]
fn a_sigint_detaches_everything() -> Result<()> {
    detaches_and_exits_with_0(Signal::SIGINT)
}

/// Nothing is pinned: the kernel takes everything back with the process.
#[test]
fn a_killed_agent_leaves_nothing_either() -> Result<()> {
    let netns = Netns::new()?;
    let agent = Setup::default().within(&netns).start()?;
    let output = end(agent, Signal::SIGKILL)?;
    ensure!(!output.status.success(), "a killed process cannot succeed");
    let left = bpf::on_interfaces(&netns)?;
    ensure!(left.is_empty(), "a killed agent leaves on interfaces: {left:?}");
    Ok(())
}
