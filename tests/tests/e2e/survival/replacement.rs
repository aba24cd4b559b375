//! State that is not taken up: another layout's, one of a start that was cut short; and what is removed on request.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use aya::programs::{
    SchedClassifier, TcAttachType,
    tc::{NlOptions, TcAttachOptions},
};
use nix::sys::signal::Signal;
use probe_tests::{
    agent::{Agent, Setup},
    bpf,
    client::Request,
    load,
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
    pins::PinDirectory,
    poll, process, tool,
};
use probe_user::{
    kernel::{Features, Networks, load},
    settings::Capacities,
};

use super::{TOOK_OVER, steady::Steady};

const LIMIT: Duration = Duration::from_secs(10);

/// Makes sure that an agent has begun anew, that nothing of the one before is left, and that it counts.
fn replaces(agent: &Agent<'_>, before: &bpf::Footprint, pins: &PinDirectory) -> Result<()> {
    let log = agent.log()?;
    ensure!(
        log.contains("replaced") && !log.contains(TOOK_OVER),
        "it did not replace what was pinned: {log}"
    );
    ensure!(pins.layouts()?.len() == 1, "there are several layouts: {:?}", pins.layouts()?);
    before.is_gone()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    load::h2load(nginx.ipv4(), "/ok", 1000, 10)?;
    mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 1000)))?;
    Ok(())
}

/// Tables of other sizes are another layout, with programs and maps of its own.
#[test]
fn another_layout_is_replaced_under_load() -> Result<()> {
    let pins = PinDirectory::new()?;
    let nginx = Nginx::start()?;
    let old = Setup::default().pinned(&pins).flags(&["--max-clients", "1000"]).start()?;
    let held = old.footprint().clone();
    let load = Steady::start(nginx.ipv4());
    poll::until("load", || Ok((load.sent() > 100).then_some(())))?;
    old.end(Signal::SIGKILL)?;
    let agent = Setup::default().pinned(&pins).start()?;
    let since = load.sent();
    replaces(&agent, &held, &pins)?;
    let (sent, mut kept) = load.keep()?;
    let counted = |role| Series::requests(nginx.port(), role);
    let scrape = agent.collected()?;
    for role in Role::BOTH {
        let counted = scrape.sum(&counted(role));
        println!("{role:?}: sent {sent}, {since} of them until the new agent counted, counted {counted}");
        // The new programs count from a moment on that lies before that.
        ensure!(counted >= (sent - since) as f64 && counted <= sent as f64, "{role:?}: counted {counted}");
    }
    // Connections that have lived through it are counted on.
    let mark = agent.mark()?;
    for client in &mut kept {
        client.exchange(&Request::new("GET", "/ok"))?;
    }
    mark.rises_by_exactly(&Role::BOTH.map(|role| (counted(role), kept.len() as u64)))?;
    Ok(())
}

/// An agent that knows nothing of the layout that it finds, as after an upgrade.
#[test]
fn a_layout_of_another_version_is_replaced() -> Result<()> {
    let pins = PinDirectory::new()?;
    let old = Setup::default().pinned(&pins).start()?;
    let held = old.footprint().clone();
    old.end(Signal::SIGKILL)?;
    let [layout] = &pins.layouts()?[..] else { anyhow::bail!("there is not one layout") };
    fs::rename(layout, pins.path().join("layout-0123456789abcdef"))?;
    let agent = Setup::default().pinned(&pins).start()?;
    replaces(&agent, &held, &pins)
}

/// Links and maps are there, but not all that belong there.
#[test]
fn a_damaged_state_is_replaced() -> Result<()> {
    let pins = PinDirectory::new()?;
    let old = Setup::default().pinned(&pins).start()?;
    let held = old.footprint().clone();
    old.end(Signal::SIGKILL)?;
    let [layout] = &pins.layouts()?[..] else { anyhow::bail!("there is not one layout") };
    fs::remove_file(layout.join("links").join("connections"))?;
    let agent = Setup::default().pinned(&pins).start()?;
    replaces(&agent, &held, &pins)
}

/// As an agent leaves it that is killed while it starts.
#[test]
fn a_start_that_was_cut_short_leaves_nothing_for_long() -> Result<()> {
    let pins = PinDirectory::new()?;
    let old = Setup::default().pinned(&pins).start()?;
    let held = old.footprint().clone();
    old.end(Signal::SIGKILL)?;
    let [layout] = &pins.layouts()?[..] else { anyhow::bail!("there is not one layout") };
    fs::remove_dir(layout.join("whole"))?;
    let agent = Setup::default().pinned(&pins).start()?;
    let log = agent.log()?;
    ensure!(!log.contains(TOOK_OVER), "it took over a state that was not whole: {log}");
    held.is_gone()
}

#[test]
fn a_second_agent_says_that_one_is_running() -> Result<()> {
    let pins = PinDirectory::new()?;
    let agent = Setup::default().pinned(&pins).start()?;
    let elsewhere = tempfile::tempdir()?;
    let refused = |arguments: &[&str]| -> Result<()> {
        let mut command = std::process::Command::new(tool::agent()?);
        let output = process::run(command.args(arguments), LIMIT)?;
        println!("{}", output.stderr.trim_end());
        ensure!(output.status.code() == Some(1), "{arguments:?} ends with {}", output.status);
        ensure!(output.stderr.contains("another traffic-probe is running"), "it says: {}", output.stderr);
        Ok(())
    };
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let (pin, lock, other) = (path(pins.path()), path(pins.lock()), path(elsewhere.path()));
    // On the same node; with the same directory; and neither may take it from the one that runs.
    refused(&["run", "--listen", "127.0.0.1:0", "--lock", &lock])?;
    refused(&["run", "--listen", "127.0.0.1:0", "--lock", &other, "--pin", &pin])?;
    refused(&["detach", "--lock", &other, "--pin", &pin])?;
    // It has taken no harm, and once it is killed nothing keeps the next one away.
    let held = agent.footprint().clone();
    agent.end(Signal::SIGKILL)?;
    let next = Setup::default().pinned(&pins).start()?;
    ensure!(next.footprint().links == held.links, "the links are others");
    Ok(())
}

#[test]
fn detach_removes_every_trace_and_says_which() -> Result<()> {
    let pins = PinDirectory::new()?;
    let agent = Setup::default().pinned(&pins).start()?;
    let held = agent.footprint().clone();
    agent.end(Signal::SIGTERM)?;
    let output = pins.detach()?;
    print!("{}", output.stdout);
    ensure!(output.status.code() == Some(0), "{}: {}", output.status, output.stderr);
    ensure!(output.stdout.contains(&format!("{} links at hooks", held.links.len())), "{}", output.stdout);
    pins.is_gone()?;
    let again = pins.detach()?;
    ensure!(again.status.code() == Some(0), "{}: {}", again.status, again.stderr);
    ensure!(again.stdout.contains("nothing to remove"), "{}", again.stdout);
    Ok(())
}

/// Before kernel 6.6 programs are at interfaces as filters, which outlive an agent that is killed.
#[test]
fn detach_removes_the_filters_of_a_killed_agent_and_nobody_elses() -> Result<()> {
    let (netns, pins) = (Netns::new()?, PinDirectory::new()?);
    let agent = Setup::default().within(&netns).flags(&["--tc-hook", "clsact"]).start()?;
    let left_in_kernel = agent.kill()?;
    // A neighbour's, of the same name and place: only the handle tells that it is not ours.
    let capacities = Capacities {
        services: 64,
        series: 64,
        series_per_service: 64,
        clients: 64,
        routes: None,
        peers: None,
    };
    netns.inside(|| {
        let mut ebpf = load(&mut Features::of_this_host(), capacities, Networks::NONE)?;
        let program: &mut SchedClassifier =
            ebpf.program_mut("interface_receive").context("the object lacks a program")?.try_into()?;
        let options = TcAttachOptions::Netlink(NlOptions::default());
        let link = program.attach_with_options("lo", TcAttachType::Ingress, options)?;
        std::mem::forget(program.take_link(link)?);
        Ok(())
    })?;
    ensure!(bpf::on_interfaces(&netns)?.len() == 3, "there: {:?}", bpf::on_interfaces(&netns)?);
    let detach = || -> Result<String> {
        let mut command = std::process::Command::new(tool::agent()?);
        netns.enter(command.arg("detach").arg("--lock").arg(pins.lock()))?;
        process::run_well(&mut command, LIMIT)
    };
    let said = detach()?;
    print!("{said}");
    ensure!(
        said.contains("removed the filters of a killed agent from 1 of the interfaces"),
        "it says: {said}"
    );
    let left = bpf::on_interfaces(&netns)?;
    ensure!(left == ["interface_receive"], "left: {left:?}");
    let said = detach()?;
    ensure!(said.starts_with("nothing to remove"), "the second time it says: {said}");
    left_in_kernel.is_gone()
}
