//! With `--pin` the kernel goes on counting whatever becomes of the agent, and the next agent goes on from there.

mod replacement;
pub(crate) mod steady;

use std::{
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::gauges_are,
    http1, load,
    metrics::{Role, Scrape, Series},
    netns::Netns,
    nginx::Nginx,
    pins::PinDirectory,
    poll,
    server::Server,
};
use steady::Steady;

/// What an agent logs that took over pinned state.
const TOOK_OVER: &str = "took over";

/// Starts an agent that must take up what the one before it left.
fn next(pins: &PinDirectory) -> Result<Agent<'_>> {
    let agent = Setup::default().pinned(pins).start()?;
    let log = agent.log()?;
    ensure!(log.contains(TOOK_OVER), "it did not take up what was pinned: {log}");
    Ok(agent)
}

/// All requests to a port on each end, as absolute figures.
fn counted(port: u16, requests: u64) -> Vec<(Series, u64)> {
    Role::BOTH.map(|role| (Series::requests(port, role), requests)).to_vec()
}

/// The first start attaches, the twenty that follow find everything in place.
#[test]
fn killed_twenty_times_under_load_it_counts_what_was_sent() -> Result<()> {
    const KILLS: u32 = 20;
    let pins = PinDirectory::new()?;
    let nginx = Nginx::start()?;
    let mut agent = Setup::default().pinned(&pins).start()?;
    let first = agent.time_to_start();
    let held = agent.footprint().clone();
    let load = Steady::start(nginx.ipv4());
    let (mut longest, mut total) = (Duration::ZERO, Duration::ZERO);
    for kill in 1..=KILLS {
        agent.end(Signal::SIGKILL)?;
        // What is sent while no agent is there is counted too.
        let sent = load.sent();
        poll::until("requests while there is no agent", || Ok((load.sent() > sent + 20).then_some(())))?;
        agent = next(&pins)?;
        longest = longest.max(agent.time_to_start());
        total += agent.time_to_start();
        let now = agent.footprint();
        ensure!(now.links == held.links, "kill {kill}: links {:?} became {:?}", held.links, now.links);
        ensure!(now.programs.is_subset(&held.programs), "kill {kill}: programs were loaded again: {now:?}");
    }
    let sent = load.finish()?;
    println!(
        "{sent} requests over {KILLS} kills; first start {first:?}, take-over {:?} on average, {longest:?} at most",
        total / KILLS
    );
    gauges_are(&agent, &counted(nginx.port(), sent))?;
    let logged: u64 = nginx.answered(usize::try_from(sent)?)?.values().sum();
    ensure!(logged == sent, "nginx logged {logged} requests, sent were {sent}");
    let named = Series::requests(nginx.port(), Role::Server).with("service", "nginx").with("status", 200);
    gauges_are(&agent, &[(named, sent)])?;
    agent.end(Signal::SIGTERM).map(drop)
}

/// Verifying the programs is what takes time at a start.
#[test]
fn a_take_over_is_quicker_than_a_first_start() -> Result<()> {
    let pins = PinDirectory::alone()?;
    let agent = Setup::default().pinned(&pins).start()?;
    let first = agent.time_to_start();
    agent.end(Signal::SIGKILL)?;
    let agent = Setup::default().pinned(&pins).start()?;
    println!("first start {first:?}, take-over {:?}", agent.time_to_start());
    ensure!(agent.time_to_start() < first / 2, "{first:?} became {:?}", agent.time_to_start());
    Ok(())
}

#[test]
fn at_a_sigterm_it_stays_attached_and_says_so() -> Result<()> {
    let pins = PinDirectory::new()?;
    let nginx = Nginx::start()?;
    let agent = Setup::default().pinned(&pins).start()?;
    let output = agent.end(Signal::SIGTERM)?;
    ensure!(output.status.code() == Some(0), "{}", output.status);
    ensure!(output.stderr.contains("traffic-probe detach --pin"), "its log: {}", output.stderr);
    load::h2load(nginx.ipv4(), "/ok", 1000, 10)?;
    let agent = next(&pins)?;
    gauges_are(&agent, &counted(nginx.port(), 1000)).map(drop)
}

/// A request that is waiting when the agent is killed is counted once, with the whole of its time.
#[test]
fn a_request_in_flight_and_its_connection_survive() -> Result<()> {
    let pins = PinDirectory::new()?;
    let agent = Setup::default().pinned(&pins).start()?;
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let server = Server::start(Ipv4Addr::LOCALHOST, move |stream: TcpStream| {
        let mut reader = BufReader::new(&stream);
        while let Ok(Some(_)) = http1::head(&mut reader) {
            let released = released.lock().map_err(|_| anyhow!("another connection panicked"))?;
            poll::word(&released, "the test to have the server answer")?;
            drop(released);
            (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    })?;
    let port = server.port();
    let at = |name, role| Series::at(name, port, role);
    let mut client = Client::connect(server.address())?;
    let asked = Instant::now();
    client.send(&Request::new("GET", "/"))?;
    gauges_are(&agent, &Role::BOTH.map(|role| (at("traffic_requests_in_flight", role), 1)))?;
    agent.end(Signal::SIGKILL)?;
    let agent = next(&pins)?;
    let state = |in_flight, open| {
        Role::BOTH.into_iter().flat_map(move |role| {
            [
                (at("traffic_requests_in_flight", role), in_flight),
                (at("traffic_connections_open", role), open),
            ]
        })
    };
    gauges_are(&agent, &state(1, 1).collect::<Vec<_>>())?;
    let waited = asked.elapsed();
    let oldest = agent.collected()?.sum(&at("traffic_oldest_request_age_seconds", Role::Server));
    // Right to an eighth: see `docs/reference/metrics.md`.
    let least = waited.as_secs_f64() * 0.875;
    ensure!(oldest >= least, "the oldest is {oldest} s old, and has waited {waited:?}");
    release.send(()).context("the server has ended")?;
    gauges_are(&agent, &[counted(port, 1), state(0, 1).collect()].concat())?;
    let took = agent.scrape()?.sum(&at("traffic_request_duration_seconds_sum", Role::Server));
    ensure!(took >= waited.as_secs_f64(), "it took {took} s, of which {waited:?} had passed by then");
    drop(client);
    gauges_are(&agent, &state(0, 0).collect::<Vec<_>>())?;
    server.finish()
}

/// Its process told its name; that has gone when the next agent looks.
#[test]
fn a_service_keeps_its_name_when_its_process_has_gone() -> Result<()> {
    let pins = PinDirectory::new()?;
    // Older than the agent: then only the process that holds its socket tells.
    let nginx = Nginx::start()?;
    let port = nginx.port();
    let agent = Setup::default().pinned(&pins).start()?;
    load::h2load(nginx.ipv4(), "/ok", 500, 5)?;
    let named = [(Series::requests(port, Role::Server).with("service", "nginx"), 500)];
    gauges_are(&agent, &named)?;
    agent.end(Signal::SIGKILL)?;
    nginx.stop()?;
    let agent = next(&pins)?;
    gauges_are(&agent, &named)?;
    gauges_are(&agent, &counted(port, 500)).map(drop)
}

/// What an interface has carried, by its own statistics and by the agent's, at a moment when both agree that it is quiet.
fn carried(agent: &Agent<'_>, netns: &Netns) -> Result<([u64; 2], [f64; 2])> {
    let statistics = || -> Result<[u64; 2]> { Ok(netns.statistics("near0")?.map(|way| way.bytes)) };
    let bytes = |scrape: &Scrape, way| {
        let series = Series::named("traffic_interface_bytes_total").with("interface", "near0");
        scrape.sum(&series.with("direction", way))
    };
    poll::until("the interface to be quiet", || {
        let before = statistics()?;
        let scrape = agent.collected()?;
        let counted = ["receive", "transmit"].map(|way| bytes(&scrape, way));
        Ok((statistics()? == before).then_some((before, counted)))
    })
}

#[test]
fn an_interface_is_counted_while_no_agent_is_there() -> Result<()> {
    let pins = PinDirectory::new()?;
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    let nginx = Nginx::start_within(&far)?;
    let server = (Ipv4Addr::new(192, 0, 2, 2), nginx.port()).into();
    let agent = Setup::default().within(&near).pinned(&pins).start()?;
    let (own_before, counted_before) = carried(&agent, &near)?;
    load::h2load_from(&near, server, "/ok", 500, 5)?;
    let node = Series::named("traffic_node_bytes_total");
    let node_before = agent.collected()?.sum(&node);
    agent.end(Signal::SIGKILL)?;
    load::h2load_from(&near, server, "/ok", 500, 5)?;
    // One that comes while no agent is there, and one that goes.
    near.cable("late0", &far, "late1")?;
    let agent = Setup::default().within(&near).pinned(&pins).start()?;
    load::h2load_from(&near, server, "/ok", 500, 5)?;
    let (own, counted) = carried(&agent, &near)?;
    for way in 0..2 {
        let (own, counted) = (own[way] - own_before[way], counted[way] - counted_before[way]);
        println!("near0, way {way}: {own} bytes by itself, {counted} counted");
        ensure!(
            (counted - own as f64).abs() < f64::EPSILON,
            "near0 carried {own} bytes, counted are {counted}"
        );
    }
    // The node's total goes on as well: of what the interface has carried it misses nothing.
    let node = agent.collected()?.sum(&node);
    let all: f64 = counted.iter().sum();
    ensure!(node >= node_before && node >= all, "the node's total: {node_before}, then {node}, of {all}");
    let late = index(&near, "late0")?;
    for interface in [index(&near, "near0")?, late] {
        let links = links_at(&pins, &format!("_{interface}"))?;
        ensure!(links == 2, "interface {interface} has {links} links");
    }
    agent.end(Signal::SIGKILL)?;
    near.ip(&["link", "delete", "late0"])?;
    let _agent = Setup::default().within(&near).pinned(&pins).start()?;
    let left = links_at(&pins, &format!("_{late}"))?;
    ensure!(left == 0, "{left} links of an interface that has gone are left");
    Ok(())
}

/// The number that the kernel has given an interface.
fn index(netns: &Netns, interface: &str) -> Result<u64> {
    let said = netns.ip(&["-j", "link", "show", "dev", interface])?;
    let said: serde_json::Value = serde_json::from_str(&said)?;
    said[0]["ifindex"].as_u64().with_context(|| format!("ip tells no index of {interface}"))
}

/// How many pinned links have a name with this end.
fn links_at(pins: &PinDirectory, end: &str) -> Result<usize> {
    let layouts = pins.layouts()?;
    ensure!(layouts.len() == 1, "there is more than one layout: {layouts:?}");
    let links = std::fs::read_dir(layouts[0].join("links"))?.collect::<Result<Vec<_>, _>>()?;
    Ok(links.iter().filter(|link| link.file_name().to_string_lossy().ends_with(end)).count())
}

/// The same place, another program there: whatever the flags say holds.
#[test]
fn xdp_survives_and_makes_way_when_it_is_not_asked_for_any_more() -> Result<()> {
    let pins = PinDirectory::new()?;
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    let start = |flags: &[&str]| Setup::default().within(&near).pinned(&pins).flags(flags).start();
    let index = index(&near, "near0")?;
    let links = |program: &str| links_at(&pins, &format!("{program}_{index}"));
    for _ in 0..2 {
        let agent = start(&["--xdp", "near0"])?;
        ensure!(links("interface_driver")? == 1 && links("interface_receive")? == 0, "not by the driver");
        agent.end(Signal::SIGKILL)?;
    }
    // Other sizes of tables are another layout: a driver takes one program only.
    start(&["--xdp", "near0", "--max-clients", "1000"])?.end(Signal::SIGKILL)?;
    ensure!(links("interface_driver")? == 1, "not by the driver");
    start(&["--max-clients", "1000"])?.end(Signal::SIGKILL)?;
    ensure!(links("interface_driver")? == 0 && links("interface_receive")? == 1, "still by the driver");
    // Nor may a filter and a link count the same packets.
    let _agent = start(&["--tc-hook", "clsact"])?;
    ensure!(links("interface_receive")? == 0 && links("interface_transmit")? == 0, "still by links");
    Ok(())
}
