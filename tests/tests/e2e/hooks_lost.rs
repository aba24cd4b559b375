//! Hooks and pins that somebody takes away from a running agent: it attaches again, or says what is true.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    agent::{Agent, Setup},
    bpf, load,
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
    pins::PinDirectory,
    poll, process, tool,
};

const LIMIT: Duration = Duration::from_secs(20);

/// It looks every 10 s.
const LOOKS: Duration = Duration::from_secs(30);

/// The ids of its links at places of a kind, by the kernel's account of its descriptors.
fn links(agent: &Agent<'_>, place: &str) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", agent.id()))? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        if let Some(id) = field("link_id")
            && field(place).is_some_and(|place| place != "0")
        {
            ids.push(id.to_owned());
        }
    }
    Ok(ids)
}

fn detach(ids: &[String]) -> Result<()> {
    ids.iter().try_for_each(|id| {
        process::run_well(tool::command("bpftool")?.args(["link", "detach", "id", id]), LIMIT).map(drop)
    })
}

fn logs(agent: &Agent<'_>, words: &str) -> Result<()> {
    poll::until_within(LOOKS, &format!("`{words}` in the log"), || {
        Ok(agent.log()?.contains(words).then_some(()))
    })
}

fn counts(agent: &Agent<'_>, nginx: &Nginx) -> Result<()> {
    let mark = agent.mark()?;
    load::h2load(nginx.ipv4(), "/ok", 500, 5)?;
    mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 500))).map(drop)
}

fn programs_at_sockets_come_back(agent: Agent<'_>) -> Result<()> {
    let nginx = Nginx::start()?;
    counts(&agent, &nginx)?;
    let before = links(&agent, "cgroup_id")?;
    ensure!(before.len() >= 4, "{before:?}");
    detach(&before)?;
    logs(&agent, "from the cgroup2 hierarchy; attached again")?;
    ensure!(links(&agent, "cgroup_id")?.len() == before.len(), "not all are back: {}", agent.log()?);
    counts(&agent, &nginx)?;
    agent.end(Signal::SIGTERM).map(drop)
}

#[test]
fn programs_that_somebody_takes_from_sockets_are_attached_again() -> Result<()> {
    programs_at_sockets_come_back(Agent::start()?)
}

/// And the one that takes it up later has them, too.
#[test]
fn so_are_those_that_are_pinned() -> Result<()> {
    let pins = PinDirectory::new()?;
    programs_at_sockets_come_back(Setup::default().pinned(&pins).start()?)?;
    let agent = Setup::default().pinned(&pins).start()?;
    ensure!(agent.log()?.contains("took over"), "{}", agent.log()?);
    counts(&agent, &Nginx::start()?)?;
    // Those of an agent that took them up are not at hand to be attached again: it says so, and the next one counts.
    let links = links(&agent, "cgroup_id")?;
    detach(&links)?;
    logs(&agent, "attaching again failed")?;
    agent.end(Signal::SIGTERM)?;
    let agent = Setup::default().pinned(&pins).start()?;
    counts(&agent, &Nginx::start()?)
}

fn cabled() -> Result<(Netns, Netns)> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    Ok((near, far))
}

#[test]
fn programs_that_somebody_takes_off_an_interface_are_attached_again() -> Result<()> {
    let (near, _far) = cabled()?;
    let agent = Setup::default().within(&near).start()?;
    let before = bpf::tcx_links(agent.id())?;
    detach(&links(&agent, "ifindex")?)?;
    ensure!(links(&agent, "ifindex")?.is_empty(), "they are not detached");
    logs(&agent, "from the interface near0; attached again")?;
    let (now, at_places) = (bpf::tcx_links(agent.id())?, links(&agent, "ifindex")?.len());
    ensure!(now == before && at_places == before.values().sum::<usize>(), "{before:?} became {now:?}");
    agent.end(Signal::SIGTERM)?;
    let left = bpf::on_interfaces(&near)?;
    ensure!(left.is_empty(), "it leaves {left:?}");
    Ok(())
}

/// The filters of `near0`, both ways, as `tc` lists those of eBPF.
fn filters(netns: &Netns) -> Result<usize> {
    let mut filters = 0;
    for way in ["ingress", "egress"] {
        let listed =
            process::run_well(netns.command("tc")?.args(["filter", "show", "dev", "near0", way]), LIMIT)?;
        filters += listed.lines().filter(|line| line.contains(" handle ")).count();
    }
    Ok(filters)
}

const CLSACT: [&str; 2] = ["--tc-hook", "clsact"];

#[test]
fn filters_that_go_with_their_clsact_come_back_with_one() -> Result<()> {
    let (near, _far) = cabled()?;
    let agent = Setup::default().within(&near).flags(&CLSACT).start()?;
    ensure!(filters(&near)? == 2, "{}", agent.log()?);
    process::run_well(near.command("tc")?.args(["qdisc", "del", "dev", "near0", "clsact"]), LIMIT)?;
    ensure!(filters(&near)? == 0, "they are there");
    logs(&agent, "from the interface near0; attached again")?;
    ensure!(filters(&near)? == 2, "{}", agent.log()?);
    Ok(())
}

/// Two that do not know of each other, since each has a lock of its own.
#[test]
fn the_filters_of_an_agent_that_lives_are_no_leftovers() -> Result<()> {
    let (near, _far) = cabled()?;
    let before = bpf::queues(&near)?;
    let first = Setup::default().within(&near).flags(&CLSACT).start()?;
    let second = Setup::default().within(&near).flags(&CLSACT).start()?;
    ensure!(filters(&near)? == 4, "{} filters of two: {}", filters(&near)?, second.log()?);
    ensure!(!second.log()?.contains("killed"), "{}", second.log()?);
    // The first to end leaves the filters of the other.
    first.end(Signal::SIGTERM)?;
    ensure!(filters(&near)? == 2, "{} filters of one", filters(&near)?);
    second.kill()?;
    ensure!(filters(&near)? == 2, "{} filters of one that was killed", filters(&near)?);
    // Those of one that was killed are, and go.
    let third = Setup::default().within(&near).flags(&CLSACT).start()?;
    ensure!(filters(&near)? == 2 && third.log()?.contains("a killed agent"), "{}", third.log()?);
    third.end(Signal::SIGTERM)?;
    let after = bpf::queues(&near)?;
    ensure!(after == before, "the queues were\n{before}and are\n{after}");
    Ok(())
}

#[test]
fn of_pins_that_are_deleted_it_says_what_is_true() -> Result<()> {
    for all in [true, false] {
        let pins = PinDirectory::new()?;
        let agent = Setup::default().pinned(&pins).start()?;
        let held = agent.footprint().clone();
        let [layout] = &pins.layouts()?[..] else { anyhow::bail!("several layouts") };
        if all {
            fs::remove_dir_all(layout)?;
        } else {
            fs::remove_file(layout.join("maps/SERVICES"))?;
        }
        logs(&agent, "the feature `pin` is missing: ")?;
        let nginx = Nginx::start()?;
        counts(&agent, &nginx)?;
        let output = agent.end(Signal::SIGTERM)?;
        let said = &output.stderr;
        ensure!(said.contains("detached") && !said.contains("the kernel keeps counting"), "{said}");
        held.is_gone()?;
    }
    Ok(())
}
