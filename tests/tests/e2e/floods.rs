//! What a hostile network or client can send in any number fills nothing, and hides nobody. These tests have the machine
//! alone, since they look at tables that all services share.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::{gauges_are, within},
    flood::Flood,
    load,
    metrics::{Role, Scrape, Series},
    netns::Netns,
    nginx::Nginx,
};

/// Entries of the kernel side's tables.
fn entries(scrape: &Scrape) -> BTreeMap<String, f64> {
    let all = Series::named("traffic_probe_table_entries");
    let tables = ["services", "series", "clients", "sampled_clients"];
    tables.map(|table| (table.to_owned(), scrape.sum(&all.clone().with("table", table)))).into()
}

fn resident(scrape: &Scrape) -> f64 {
    scrape.sum(&Series::named("process_resident_memory_bytes")) / 1_048_576.0
}

/// What escaped and is no word of another test's traffic.
fn escaped(scrape: &Scrape) -> f64 {
    let of =
        |reason: &&str| scrape.sum(&Series::named("traffic_probe_unmeasured_total").with("reason", reason));
    ["services_full", "latency_full", "clients_full", "sample_full", "socket_state"].iter().map(of).sum()
}

/// Nothing that it holds has grown by what was sent: there is a caller more and a server, their client, and the buckets
/// of their histograms, a few hundred each.
fn is_flat(agent: &Agent<'_>, before: &Scrape) -> Result<()> {
    let after = agent.collected()?;
    let (was, is) = (entries(before), entries(&after));
    println!(
        "tables: {was:?} before, {is:?} after; agent {:.1} and {:.1} MiB",
        resident(before),
        resident(&after)
    );
    for (table, entries) in &is {
        let room = if table == "series" { 2_000.0 } else { 5.0 };
        ensure!(entries - was[table] <= room, "{table}: {} entries before, {entries} after", was[table]);
    }
    ensure!(resident(&after) - resident(before) < 4.0, "the agent has grown");
    ensure!((escaped(&after) - escaped(before)).abs() < f64::EPSILON, "something found no room");
    Ok(())
}

#[test]
fn a_syn_flood_fills_nothing_and_hides_nobody() -> Result<()> {
    const SYNS: u32 = 300_000;
    const REQUESTS: u64 = 5_000;
    const CLIENTS: u32 = 20;
    let netns = Netns::new()?;
    let nginx = Nginx::start_within(&netns)?;
    let mut flood = Flood::lay(&netns, 3)?;
    let agent = Setup::default().alone().start()?;
    let (mark, before) = (agent.mark()?, agent.collected()?);
    let port = nginx.port();
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood.ask_for_connections(port, SYNS));
        let asking = scope.spawn(|| load::h2load_from(&netns, nginx.ipv4(), "/ok", REQUESTS, CLIENTS));
        asking.join().expect("the client panicked")?;
        flooding.join().expect("the flood panicked")
    })?;
    let cookies = netns.tcp_counter("SyncookiesSent")?;
    println!(
        "{SYNS} connections asked for in vain; {cookies} of them were granted by a cookie, for want of room"
    );
    ensure!(cookies > 0, "the flood was too weak to fill the listener's queue");
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.push((Series::requests(port, role).with("status", 200), REQUESTS));
        expected.push((Series::at("traffic_connections_opened_total", port, role), u64::from(CLIENTS)));
    }
    mark.rises_by_exactly(&expected)?;
    let users = Series::named("traffic_concurrent_users").with("port", port);
    let open = Series::at("traffic_connections_open", port, Role::Server);
    gauges_are(&agent, &[(users, 1), (open, 0)])?;
    is_flat(&agent, &before)
}

/// Methods, targets and headers that nobody has thought of.
fn invent(server: SocketAddr, requests: u32) -> Result<BTreeMap<u16, u64>> {
    let mut chance = fastrand::Rng::with_seed(9);
    let mut answers = BTreeMap::new();
    let mut word = |length: usize| -> String { (0..length).map(|_| chance.uppercase()).collect() };
    for _ in 0..requests {
        let request = Request::new(&word(8), &format!("/{}?{}", word(12), word(20))).header(&format!(
            "X-{}: {}",
            word(6),
            word(30)
        ));
        // nginx closes after a method that it does not know.
        let answer = Client::connect(server)?.exchange(&request)?;
        *answers.entry(answer.status).or_default() += 1;
    }
    Ok(answers)
}

#[test]
fn invented_methods_targets_and_headers_make_no_series() -> Result<()> {
    const INVENTED: u32 = 5_000;
    const REQUESTS: u64 = 5_000;
    let agent = Setup::default().alone().start()?;
    let nginx = Nginx::start()?;
    let (mark, before) = (agent.mark()?, agent.collected()?);
    let port = nginx.port();
    let answers = thread::scope(|scope| {
        let inventing = scope.spawn(|| invent(nginx.ipv4(), INVENTED));
        load::h2load(nginx.ipv4(), "/ok", REQUESTS, 10)?;
        inventing.join().expect("the inventor panicked")
    })?;
    println!("{INVENTED} invented requests were answered: {answers:?}");
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let of = |method: &str| Series::requests(port, role).with("method", method);
        expected.push((of("GET").with("status", 200), REQUESTS));
        for (status, count) in &answers {
            expected.push((of("OTHER").with("status", status), *count));
        }
        expected.push((Series::requests(port, role), REQUESTS + u64::from(INVENTED)));
    }
    let scrape = mark.rises_by_exactly(&expected)?;
    let methods = scrape.values(&Series::requests(port, Role::Server), "method");
    ensure!(methods == ["GET", "OTHER"], "methods of the service: {methods:?}");
    is_flat(&agent, &before)
}

/// Clients that the kernel's table has room for, unless told otherwise.
const CLIENTS_ROOM: u32 = 262_144;

/// Fails unless no table has more than it has room for.
fn is_within_capacity(scrape: &Scrape) -> Result<()> {
    let all = Series::named("traffic_probe_table_capacity");
    for (table, entries) in entries(scrape) {
        let room = scrape.sum(&all.clone().with("table", &table));
        ensure!(entries <= room, "{table}: {entries} entries, and room for {room}");
    }
    Ok(())
}

/// All kinds at once: datagrams and requests for connections from a great many addresses, to a service and to ports that
/// nobody has, and methods and paths that come once, beside a service under load. `TRAFFIC_PROBE_FLOOD` says from how many
/// addresses; 1,000,000 if it is not set. Three of four of these are users of the service that is flooded.
#[test]
fn a_flood_of_all_kinds_leaves_memory_and_others_alone() -> Result<()> {
    const INVENTED: u32 = 3_000;
    const REQUESTS: u64 = 20_000;
    const ROUTES: u64 = 100;
    let addresses: u32 = match std::env::var("TRAFFIC_PROBE_FLOOD") {
        Ok(typed) => typed.parse().context("TRAFFIC_PROBE_FLOOD is no number")?,
        Err(_) => 1_000_000,
    };
    let netns = Netns::new()?;
    let (real, invented) = (Nginx::start_within(&netns)?, Nginx::start_within(&netns)?);
    let mut flood = Flood::lay(&netns, 5)?;
    // Nobody reads from it: what it has no room for was received all the same.
    let flooded = netns.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    let port = flooded.local_addr()?.port();
    let agent = Setup::default().flags(&["--routes", "--users-window", "30m"]).alone().start()?;
    let (mark, before) = (agent.mark()?, agent.collected()?);
    let began = Instant::now();
    let (sent, answers) = thread::scope(|scope| -> Result<_> {
        let flooding = scope.spawn(|| flood.send_from_everywhere(port, addresses));
        let inventing = scope.spawn(|| netns.inside(|| invent(invented.ipv4(), INVENTED)));
        load::h2load_from(&netns, real.ipv4(), "/ok", REQUESTS, 10)?;
        let answers = inventing.join().expect("the inventor panicked")?;
        Ok((flooding.join().expect("the flood panicked")?, answers))
    })?;
    let took = began.elapsed();
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let of_real = Series::requests(real.port(), role);
        expected
            .push((of_real.clone().with("method", "GET").with("status", 200).with("route", "/ok"), REQUESTS));
        expected.push((of_real, REQUESTS));
        let of_invented = Series::requests(invented.port(), role).with("method", "OTHER");
        expected.push((of_invented.clone(), u64::from(INVENTED)));
        expected.push((of_invented.with("route", "other"), u64::from(INVENTED) - ROUTES));
        for (status, count) in &answers {
            expected.push((Series::requests(invented.port(), role).with("status", status), *count));
        }
    }
    let received = Series::named("traffic_packets_total").with("transport", "udp").with("port", port);
    expected.push((received.with("direction", "receive"), sent.datagrams));
    let scrape = mark.rises_by_exactly(&expected)?;
    let users = scrape.sum(&Series::named("traffic_concurrent_users").with("port", port));
    let told =
        |reason| mark.rise(&scrape, &Series::named("traffic_probe_unmeasured_total").with("reason", reason));
    println!(
        "{addresses} addresses in {took:?}: {sent:?}; {users} users; told: {} clients_full, {} routes_full; tables {:?}; \
         agent {:.1} MiB before, {:.1} after",
        told("clients_full"),
        told("routes_full"),
        entries(&scrape),
        resident(&before),
        resident(&scrape)
    );
    within(0.06, "users", users, sent.datagrams as f64)?;
    ensure!(told("clients_full") >= (sent.datagrams - u64::from(CLIENTS_ROOM)) as f64, "not all were told");
    for reason in ["services_full", "latency_full", "sample_full", "socket_state", "service_series_full"] {
        ensure!(told(reason) < f64::EPSILON, "{} times {reason}", told(reason));
    }
    is_within_capacity(&scrape)?;
    ensure!(resident(&scrape) - resident(&before) < 8.0, "the agent has grown");
    Ok(())
}
