//! Services to which nothing happens leave the kernel's tables and the metrics, and whoever comes back restarts at zero. These
//! tests have the machine alone, since they look at a table that all services share.

use std::{
    collections::BTreeSet,
    io::{BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, Queue, loaded_maps};
use nix::sys::signal::Signal;
use probe_common::{
    counters::ServiceCounters,
    exchange::{LatencyCell, LatencyKey},
    service::{ParkedService, ServiceEntry, ServiceKey},
};
use probe_tests::{
    agent::{Agent, Setup},
    cgroup::Cgroup,
    client::{Client, Request},
    expect::gauges_are,
    http1,
    metrics::{Role, Scrape, Series},
    pins::PinDirectory,
    poll, process,
    server::Server,
    tool,
};

fn ok(mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while http1::head(&mut reader)?.is_some() {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

fn serve() -> Result<Server> {
    Server::start(Ipv4Addr::LOCALHOST, ok)
}

/// Asks so often on a connection of its own.
fn ask(server: SocketAddr, times: u64) -> Result<()> {
    let mut client = Client::connect(server)?;
    (0..times).try_for_each(|_| client.exchange(&Request::new("GET", "/")).map(drop))
}

/// All requests to a port on each end.
fn counted(port: u16, requests: u64) -> Vec<(Series, u64)> {
    Role::BOTH.map(|role| (Series::requests(port, role), requests)).to_vec()
}

fn entries(scrape: &Scrape, table: &str) -> f64 {
    scrape.sum(&Series::named("traffic_probe_table_entries").with("table", table))
}

/// How many found no room.
fn turned_away(scrape: &Scrape) -> f64 {
    scrape.sum(&Series::named("traffic_probe_unmeasured_total").with("reason", "services_full"))
}

fn is(value: f64, count: u64) -> bool {
    (value - count as f64).abs() < f64::EPSILON
}

/// Whether any series of a port is there.
fn is_shown(scrape: &Scrape, port: u16) -> bool {
    scrape.get(&Series::named("traffic_bytes_total").with("port", port)).is_some()
}

/// A map of the agent's.
pub(crate) fn map(agent: &Agent<'_>, name: &str) -> Result<Map> {
    for map in loaded_maps() {
        let Ok(map) = map else { continue };
        if agent.footprint().maps.contains(&u64::from(map.id())) && map.name_as_str() == Some(name) {
            return Ok(Map::from_map_data(MapData::from_id(map.id())?)?);
        }
    }
    bail!("the agent has no map {name}")
}

/// The indices under which the kernel side finds the services of a port.
pub(crate) fn indices(agent: &Agent<'_>, port: u16) -> Result<BTreeSet<u32>> {
    let services: HashMap<_, ServiceKey, ServiceEntry> = map(agent, "SERVICES")?.try_into()?;
    let all = services.iter().collect::<Result<Vec<_>, _>>()?;
    Ok(all.iter().filter(|(key, _)| key.port == port).map(|(_, entry)| entry.index).collect())
}

/// How many entries of histograms there are under these indices.
fn histogram_entries(agent: &Agent<'_>, indices: &BTreeSet<u32>) -> Result<usize> {
    let latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = map(agent, "LATENCIES")?.try_into()?;
    let keys = latencies.keys().collect::<Result<Vec<_>, _>>()?;
    Ok(keys.iter().filter(|key| indices.contains(&key.service)).count())
}

#[test]
fn an_idle_service_leaves_and_begins_at_zero_when_it_comes_back() -> Result<()> {
    let flags = ["--idle-after", "3s", "--users-window", "1s"];
    let agent = Setup::default().flags(&flags).ticking_every("200ms").alone().start()?;
    let (idle, busy, kept) = (serve()?, serve()?, serve()?);
    let mut steady = Client::connect(busy.address())?;
    let mut keeping = Client::connect(kept.address())?;
    let request = Request::new("GET", "/");
    for _ in 0..3 {
        keeping.exchange(&request)?;
    }
    ask(idle.address(), 7)?;
    gauges_are(&agent, &counted(idle.port(), 7))?;
    let had = indices(&agent, idle.port())?;
    let entries = histogram_entries(&agent, &had)?;
    ensure!(had.len() == 2 && entries >= 4, "the kernel has {had:?} of it, and {entries} entries");
    let mut asked = 0;
    poll::until("the idle service to leave", || {
        steady.exchange(&request)?;
        asked += 1;
        Ok((!is_shown(&agent.scrape()?, idle.port())).then_some(()))
    })?;
    println!("{asked} requests of another service until it left, which had {entries} entries");
    ensure!(indices(&agent, idle.port())?.is_empty(), "its key is still there");
    // Nobody else has its indices so soon: free ones wait in a queue.
    ensure!(histogram_entries(&agent, &had)? == 0, "its histograms are still there");
    // It listens all the while, as does the one that keeps its connection.
    ask(idle.address(), 5)?;
    for _ in 0..2 {
        keeping.exchange(&request)?;
    }
    // Of one with an open connection the series has left, and all else stays.
    let stays =
        Series::at("traffic_time_to_first_byte_seconds", kept.port(), Role::Server).suffixed("_count");
    let mut expected =
        [counted(idle.port(), 5), counted(kept.port(), 2), counted(busy.port(), asked)].concat();
    expected.push((stays, 5));
    let scrape = gauges_are(&agent, &expected)?;
    let opened = Series::at("traffic_connections_opened_total", idle.port(), Role::Server);
    ensure!(is(scrape.sum(&opened), 1), "connections do not restart at zero");
    drop((steady, keeping));
    [idle, busy, kept].into_iter().try_for_each(Server::finish)
}

/// Two callers of one name, in cgroups that do not tell any: what one of them did stays in what is shown of both when it
/// leaves, also to the next agent.
#[test]
fn what_is_shown_of_a_name_does_not_go_down_when_one_who_bears_it_leaves() -> Result<()> {
    const EARLY: u64 = 4;
    let sessions = [Cgroup::new("user.slice/session-1.scope")?, Cgroup::new("user.slice/session-2.scope")?];
    let pins = PinDirectory::alone()?;
    let flags = ["--idle-after", "2s", "--users-window", "1s"];
    let start = || Setup::default().flags(&flags).ticking_every("200ms").pinned(&pins).start();
    let agent = start()?;
    let server = serve()?;
    let ask_from = |session: &Cgroup, path: &str| -> Result<()> {
        let mut command = tool::command("curl")?;
        command.args(["--silent", "--fail", "--noproxy", "*", &format!("http://{}{path}", server.address())]);
        session.enter(&mut command)?;
        process::run_well(&mut command, Duration::from_secs(10)).map(drop)
    };
    for _ in 0..EARLY {
        ask_from(&sessions[0], "/")?;
    }
    let series = || Series::requests(server.port(), Role::Client).with("service", "curl");
    let (mut shown, mut asked) = (0.0, 0);
    ask_from(&sessions[1], "/")?;
    poll::until("both of them", || Ok((indices(&agent, server.port())?.len() == 3).then_some(())))?;
    poll::until("the first to leave", || {
        ask_from(&sessions[1], "/")?;
        asked += 1;
        let now = agent.scrape()?.sum(&series());
        ensure!(now >= shown, "{shown} requests were shown, and then {now}");
        shown = now;
        Ok((indices(&agent, server.port())?.len() == 2).then_some(()))
    })?;
    let all = EARLY + 1 + asked;
    println!("{EARLY} requests of one, {} of the other", asked + 1);
    let bytes = || Series::at("traffic_bytes_total", server.port(), Role::Client);
    let before =
        gauges_are(&agent, &[(series(), all), (Series::requests(server.port(), Role::Server), all)])?;
    agent.end(Signal::SIGKILL)?;
    let agent = start()?;
    let scrape = agent.collected()?;
    ensure!(is(scrape.sum(&series()), all), "{} of {all} requests are left", scrape.sum(&series()));
    let (was, now) = (before.sum(&bytes()), scrape.sum(&bytes()));
    ensure!((was - now).abs() < f64::EPSILON, "{was} bytes were shown, and now {now}");
    let first_bytes = Series::at("traffic_time_to_first_byte_seconds", server.port(), Role::Client);
    let opened = Series::at("traffic_connections_opened_total", server.port(), Role::Client);
    for series in [first_bytes.suffixed("_count"), opened] {
        ensure!((scrape.sum(&series) - all as f64).abs() < f64::EPSILON, "{series}: {}", scrape.sum(&series));
    }
    drop(agent);
    server.finish()
}

/// A server and a client that stay open over UDP leave when they have been silent, and are the same two when they speak again:
/// the server speaks first then, from a port that it was given, and that does not make it a client.
#[test]
fn silent_udp_sockets_leave_and_keep_their_roles_when_they_speak_again() -> Result<()> {
    let flags = ["--idle-after", "1s", "--users-window", "1s"];
    let agent = Setup::default().flags(&flags).ticking_every("200ms").alone().start()?;
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.connect(server.local_addr()?)?;
    let port = server.local_addr()?.port();
    let packets = |role: Role, direction, packets| {
        let series = Series::at("traffic_packets_total", port, role).with("transport", "udp");
        (series.with("direction", direction), packets)
    };
    let heard =
        |times| vec![packets(Role::Server, "receive", times), packets(Role::Client, "transmit", times)];
    let answered =
        |times| vec![packets(Role::Server, "transmit", times), packets(Role::Client, "receive", times)];
    for round in 1..=2 {
        for _ in 0..3 {
            client.send(b"word")?;
            server.recv(&mut [0; 8])?;
        }
        gauges_are(&agent, &heard(3))?;
        let had = indices(&agent, port)?;
        ensure!(had.len() == 2, "round {round}: the kernel has {had:?} of it");
        poll::until("the silent service to leave", || Ok((!is_shown(&agent.scrape()?, port)).then_some(())))?;
        ensure!(indices(&agent, port)?.is_empty(), "round {round}: its keys are still there");
        poll::until("its places to be free", || {
            let held: PerCpuArray<_, ServiceCounters> = map(&agent, "COUNTERS")?.try_into()?;
            let mut free = true;
            for index in &had {
                free &= held.get(index, 0)?.iter().all(|counters| *counters == ServiceCounters::default());
            }
            Ok(free.then_some(()))
        })?;
    }
    for _ in 0..2 {
        server.send_to(b"late answer", client.local_addr()?)?;
        client.recv(&mut [0; 16])?;
    }
    gauges_are(&agent, &[answered(2), heard(0)].concat()).map(drop)
}

/// More services than there is room for, one after the other. `TRAFFIC_PROBE_SERVICES_IN_SEQUENCE` says how many ports there
/// are, each with a server and a client; 600 if it is not set.
#[test]
fn services_in_sequence_find_room_in_a_small_table() -> Result<()> {
    const AT_A_TIME: usize = 100;
    let ports: usize =
        std::env::var("TRAFFIC_PROBE_SERVICES_IN_SEQUENCE").map_or(Ok(600), |typed| typed.parse())?;
    let flags = ["--idle-after", "2s", "--users-window", "1s", "--max-services", "512"];
    let agent = Setup::default().flags(&flags).ticking_every("200ms").alone().start()?;
    let before = turned_away(&agent.collected()?);
    for batch in 0..ports / AT_A_TIME {
        let servers = (0..AT_A_TIME).map(|_| serve()).collect::<Result<Vec<_>>>()?;
        for server in &servers {
            ask(server.address(), 2)?;
        }
        poll::until("each of the services", || {
            let scrape = agent.scrape()?;
            let all = servers.iter().flat_map(|server| counted(server.port(), 2));
            let missing = all.filter(|(series, count)| !is(scrape.sum(series), *count)).count();
            Ok((missing == 0).then_some(()))
        })?;
        servers.into_iter().try_for_each(Server::finish)?;
        poll::until("room for others", || Ok((entries(&agent.scrape()?, "services") < 100.0).then_some(())))?;
        ensure!(turned_away(&agent.scrape()?) <= before, "a service of batch {batch} found no room");
    }
    Ok(())
}

/// Killed in whatever it does to services that leave, it loses no index and gives none to two: in the end each of them is
/// free, or somebody's.
#[test]
fn an_agent_that_is_killed_in_between_loses_no_room() -> Result<()> {
    const KILLS: u32 = 12;
    const AT_A_TIME: usize = 20;
    const ROOM: u32 = 128;
    let pins = PinDirectory::new()?;
    let flags = ["--idle-after", "100ms", "--users-window", "100ms", "--max-services", &ROOM.to_string()];
    let start = || Setup::default().flags(&flags).ticking_every("100ms").pinned(&pins).start();
    let mut agent = start()?;
    let mut chance = fastrand::Rng::with_seed(11);
    for kill in 1..=KILLS {
        let servers = (0..AT_A_TIME).map(|_| serve()).collect::<Result<Vec<_>>>()?;
        let ports: Vec<_> = servers.iter().map(Server::port).collect();
        servers.iter().try_for_each(|server| ask(server.address(), 1))?;
        servers.into_iter().try_for_each(Server::finish)?;
        // At any moment while they leave.
        std::thread::sleep(Duration::from_millis(chance.u64(100..500)));
        agent.end(Signal::SIGKILL)?;
        agent = start()?;
        ensure!(agent.log()?.contains("took over"), "kill {kill}: it did not take over the pinned state");
        poll::until("the services to leave", || {
            let scrape = agent.scrape()?;
            Ok((!ports.iter().any(|port| is_shown(&scrape, *port))).then_some(()))
        })?;
    }
    agent.end(Signal::SIGKILL)?;
    let [layout] = &pins.layouts()?[..] else { bail!("there is not one layout") };
    let pinned = |map| MapData::from_pin(layout.join("maps").join(map));
    let mut queue: Queue<_, u32> = Map::from_map_data(pinned("FREE_SERVICES")?)?.try_into()?;
    let mut owned: Vec<u32> = std::iter::from_fn(|| match queue.pop(0) {
        Err(MapError::ElementNotFound) => None,
        popped => Some(popped),
    })
    .collect::<Result<_, _>>()?;
    let free = owned.len();
    let services: HashMap<_, ServiceKey, ServiceEntry> =
        Map::from_map_data(pinned("SERVICES")?)?.try_into()?;
    let parked: HashMap<_, u32, ParkedService> =
        Map::from_map_data(pinned("PARKED_SERVICES")?)?.try_into()?;
    let found: Vec<_> = services.iter().collect::<Result<_, _>>()?;
    let noted: Vec<_> = parked.iter().collect::<Result<_, _>>()?;
    println!("after {KILLS} kills {free} free, {} found by key, {} parked", found.len(), noted.len());
    // Noted and not yet taken from the table is not two.
    let noted = noted
        .iter()
        .filter(|(index, parked)| parked.going == 0 && !found.iter().any(|(_, entry)| entry.index == *index));
    owned.extend(noted.map(|(index, _)| *index).chain(found.iter().map(|(_, entry)| entry.index)));
    owned.sort_unstable();
    let all: Vec<u32> = (1..ROOM).collect();
    ensure!(owned == all, "indices with an owner, each once, are {owned:?}");
    Ok(())
}
