//! With whom services talk: clients with addresses of their own over a real link, held against nginx's log of whom it
//! answered; more of them than there is room for; and those that fall silent.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use aya::maps::PerCpuHashMap;
use nix::sys::signal::Signal;
use probe_common::peer::{PeerCell, PeerKey};
use probe_tests::{
    agent::{Agent, Setup},
    expect::{gauges_are, within},
    load,
    metrics::{Role, Scrape, Series},
    netns::Netns,
    nginx::Nginx,
    pins::PinDirectory,
    poll, process,
};

use crate::expiry;

const LIMIT: Duration = Duration::from_secs(30);

const REQUESTS: &str = "traffic_peer_requests_total";
const CONNECTIONS: &str = "traffic_peer_connections_total";

/// The server's addresses, as [`Netns::connect`] gives them, and a client's that others come beside.
const SERVER: [&str; 2] = ["192.0.2.1", "fd00::1"];
const CLIENT: &str = "192.0.2.2";

/// nginx at one end of a cable, and clients with many addresses at the other.
struct Link {
    nginx: Nginx,
    far: Netns,
    // Behind what runs in it.
    _near: Netns,
}

impl Link {
    fn lay(addresses: &[String]) -> Result<Self> {
        let (near, far) = (Netns::new()?, Netns::new()?);
        near.connect("near", &far, "far")?;
        for address in addresses {
            far.address("far", &format!("{address}/{}", if address.contains(':') { 64 } else { 24 }))?;
        }
        Ok(Self { nginx: Nginx::start_within(&near)?, far, _near: near })
    }

    fn port(&self) -> u16 {
        self.nginx.port()
    }

    /// The server, by the family of a client.
    fn server(&self, client: &str) -> Result<SocketAddr> {
        let address: IpAddr = SERVER[usize::from(client.contains(':'))].parse()?;
        Ok(SocketAddr::new(address, self.port()))
    }

    /// Asks so often for a path, on one connection from an address.
    fn ask(&self, client: &str, path: &str, times: u64) -> Result<()> {
        let mut curl = self.far.command("curl")?;
        curl.args(["--silent", "--noproxy", "*", "--output", "/dev/null", "--interface", client]);
        curl.arg(format!("http://{}{path}?[1-{times}]", self.server(client)?));
        process::run_well(&mut curl, LIMIT).map(drop)
    }

    fn at(&self, name: &'static str, role: Role, peer: impl std::fmt::Display) -> Series {
        Series::at(name, self.port(), role).with("peer", peer)
    }
}

/// Addresses of clients, the usual one aside.
fn addresses(count: u8) -> Vec<String> {
    (0..count).map(|number| format!("192.0.2.{}", 10 + number)).collect()
}

/// How many entries the kernel has of these peers at a port.
fn entries(agent: &Agent<'_>, port: u16, peers: &[String]) -> Result<usize> {
    let services = expiry::indices(agent, port)?;
    let table: PerCpuHashMap<_, PeerKey, PeerCell> = expiry::map(agent, "PEERS")?.try_into()?;
    let keys = table.keys().collect::<Result<Vec<_>, _>>()?;
    let is_one = |key: &&PeerKey| {
        let address = Ipv6Addr::from(key.address).to_canonical().to_string();
        services.contains(&key.service) && peers.contains(&address)
    };
    Ok(keys.iter().filter(is_one).count())
}

fn shown(scrape: &Scrape, port: u16, role: Role) -> Vec<&str> {
    scrape.values(&Series::at(REQUESTS, port, role), "peer")
}

#[test]
fn each_peers_requests_are_those_of_nginxs_log_at_both_ends() -> Result<()> {
    const H2LOAD: u64 = 20_000;
    const H2LOAD_CLIENTS: u32 = 20;
    let mut clients = addresses(5);
    clients.extend(["fd00::10", "fd00::11"].map(str::to_owned));
    let agent = Setup::default().flags(&["--peers"]).start()?;
    let link = Link::lay(&clients)?;
    let mark = agent.mark()?;
    let paths = ["/ok", "/absent", "/broken", "/download/none", "/empty"];
    thread::scope(|scope| {
        let asking = clients.iter().zip(1..).map(|(client, number)| {
            let link = &link;
            scope.spawn(move || {
                paths.iter().zip(1..).try_for_each(|(path, i)| link.ask(client, path, 20 * number + i))
            })
        });
        let asking: Vec<_> = asking.collect();
        load::h2load_from(&link.far, link.server(CLIENT)?, "/ok", H2LOAD, H2LOAD_CLIENTS)?;
        asking.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })?;
    let sent = H2LOAD + (1..=7).map(|number| 5 * 20 * number + 15).sum::<u64>();
    let mut logged: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for ((client, status), count) in link.nginx.answered_to(usize::try_from(sent)?)? {
        let [all, failed] = logged.entry(client).or_default();
        *all += count;
        *failed += if status >= 500 { count } else { 0 };
    }
    println!("requests and errors by client, as nginx logged them: {logged:?}");
    ensure!(logged.len() == clients.len() + 1, "not the clients that asked");
    let mut expected = Vec::new();
    let mut of_server = [[0; 3]; 2];
    for (client, [all, failed]) in &logged {
        let connections = if client == CLIENT { H2LOAD_CLIENTS.into() } else { paths.len() as u64 };
        let figures = [(REQUESTS, *all), ("traffic_peer_errors_total", *failed), (CONNECTIONS, connections)];
        let sums = &mut of_server[usize::from(client.contains(':'))];
        for ((name, figure), sum) in figures.into_iter().zip(sums) {
            expected.push((link.at(name, Role::Server, client), figure));
            *sum += figure;
        }
    }
    // The other end has two peers, the server's addresses.
    for (server, sums) in SERVER.into_iter().zip(of_server) {
        for (name, sum) in [REQUESTS, "traffic_peer_errors_total", CONNECTIONS].into_iter().zip(sums) {
            expected.push((link.at(name, Role::Client, server), sum));
        }
    }
    for role in Role::BOTH {
        expected.push((Series::requests(link.port(), role), sent));
        expected.push((Series::at(REQUESTS, link.port(), role), sent));
    }
    let scrape = mark.rises_by_exactly(&expected)?;
    ensure!(
        shown(&scrape, link.port(), Role::Client) == SERVER,
        "{:?}",
        shown(&scrape, link.port(), Role::Client)
    );
    for role in Role::BOTH {
        let of = |name| scrape.sum(&Series::at(name, link.port(), role));
        let (peers, all) =
            (of("traffic_peer_duration_seconds_total"), of("traffic_request_duration_seconds_sum"));
        within(1e-9, "the time of all peers together", peers, all)?;
    }
    Ok(())
}

#[test]
fn nothing_is_shown_of_peers_unless_asked_for() -> Result<()> {
    let agent = Agent::start()?;
    let link = Link::lay(&[])?;
    let mark = agent.mark()?;
    link.ask(CLIENT, "/ok", 5)?;
    let scrape = mark.rises_by_exactly(&[(Series::requests(link.port(), Role::Server), 5)])?;
    ensure!(scrape.get(&Series::named(REQUESTS)).is_none(), "peers are shown");
    ensure!(
        scrape.get(&Series::named("traffic_probe_table_capacity").with("table", "peers")).is_none(),
        "a table of peers is shown"
    );
    Ok(())
}

/// Who comes when there is no room is counted as `other`, and said to be.
#[test]
fn peers_beyond_the_limit_are_one_and_nothing_is_lost() -> Result<()> {
    let clients = addresses(8);
    let agent = Setup::default().flags(&["--peers", "--max-peers-per-service", "3"]).alone().start()?;
    let link = Link::lay(&clients)?;
    let mark = agent.mark()?;
    for client in &clients {
        link.ask(client, "/broken", 7)?;
    }
    link.ask(&clients[0], "/ok", 5)?;
    let failed = |peer: &str| link.at("traffic_peer_errors_total", Role::Server, peer);
    // Each request and each connection that found no room.
    let full = Series::named("traffic_probe_unmeasured_total").with("reason", "peers_full");
    let mut expected = vec![
        (link.at(REQUESTS, Role::Server, &clients[0]), 12),
        (link.at(REQUESTS, Role::Server, "other"), 35),
        (link.at(CONNECTIONS, Role::Server, "other"), 5),
        (failed("other"), 35),
        (full, 35 + 5),
        (Series::requests(link.port(), Role::Server), 61),
    ];
    for client in &clients[1..3] {
        expected.push((link.at(REQUESTS, Role::Server, client), 7));
        expected.push((failed(client), 7));
    }
    let scrape = mark.rises_by_exactly(&expected)?;
    let peers = shown(&scrape, link.port(), Role::Server);
    ensure!(peers.len() == 4, "{peers:?}");
    Ok(())
}

/// Some come and fall silent repeatedly, while one goes on: of that nothing is lost when others leave.
#[test]
fn peers_that_fall_silent_leave_and_the_others_are_counted_as_ever() -> Result<()> {
    const ROUNDS: u64 = 2;
    const STEADY: u64 = 30_000;
    let clients = addresses(6);
    let agent =
        Setup::default().flags(&["--peers", "--idle-after", "5s"]).ticking_every("100ms").alone().start()?;
    let link = Link::lay(&clients)?;
    let steady = || link.at(REQUESTS, Role::Server, CLIENT);
    let mut asked = 0;
    for round in 1..=ROUNDS {
        for client in &clients {
            link.ask(client, "/ok", round)?;
        }
        let expected: Vec<_> =
            clients.iter().map(|client| (link.at(REQUESTS, Role::Server, client), round)).collect();
        gauges_are(&agent, &expected)?;
        let there = entries(&agent, link.port(), &clients)?;
        ensure!(there == clients.len(), "{there} entries of {} clients", clients.len());
        // The series are gone once their entries are idle, at the same look or the next.
        let mut left = Vec::new();
        while left.len() < clients.len() {
            load::h2load_from(&link.far, link.server(CLIENT)?, "/ok", STEADY / 10, 4)?;
            asked += STEADY / 10;
            let scrape = agent.collected()?;
            let peers = shown(&scrape, link.port(), Role::Server);
            left = clients.iter().filter(|client| !peers.contains(&client.as_str())).collect();
        }
        poll::until("the entries to leave", || {
            load::h2load_from(&link.far, link.server(CLIENT)?, "/ok", 100, 1)?;
            asked += 100;
            Ok((entries(&agent, link.port(), &clients)? == 0).then_some(()))
        })?;
    }
    println!("{asked} requests of the one that stays, over {ROUNDS} rounds of {} that leave", clients.len());
    gauges_are(&agent, &[(steady(), asked)])?;
    let turned_away = Series::named("traffic_probe_unmeasured_total").with("reason", "peers_full");
    ensure!(agent.scrape()?.sum(&turned_away) < 1.0, "somebody found no room");
    Ok(())
}

#[test]
fn the_next_agent_goes_on_from_what_is_pinned() -> Result<()> {
    let clients = addresses(3);
    let pins = PinDirectory::new()?;
    let start = || Setup::default().flags(&["--peers"]).pinned(&pins).start();
    let mut agent = start()?;
    let link = Link::lay(&clients)?;
    for round in 1..=3 {
        for client in &clients {
            link.ask(client, "/broken", 4)?;
        }
        agent.end(Signal::SIGKILL)?;
        // What nobody reads meanwhile is counted too.
        link.ask(&clients[0], "/ok", 2)?;
        agent = start()?;
        ensure!(agent.log()?.contains("took over"), "it did not take over the pinned state");
        let mut expected = vec![(link.at(REQUESTS, Role::Server, &clients[0]), 6 * round)];
        for client in &clients {
            expected.push((link.at("traffic_peer_errors_total", Role::Server, client), 4 * round));
        }
        gauges_are(&agent, &expected)?;
    }
    agent.end(Signal::SIGTERM).map(drop)
}

/// Networks that have a name are one peer each, however many addresses they have; a server of this node has its name.
#[test]
fn networks_and_services_of_this_node_have_names() -> Result<()> {
    let clients: Vec<_> = (1..=40).map(|number| format!("192.0.2.{}", 100 + number)).collect();
    let flags =
        ["--peers", "--peer-names", "192.0.2.128/25=far,192.0.2.64/26=near", "--max-peers-per-service", "2"];
    let agent = Setup::default().flags(&flags).start()?;
    let (link, here) = (Link::lay(&clients)?, Nginx::start()?);
    let mark = agent.mark()?;
    for client in &clients {
        link.ask(client, "/ok", 3)?;
    }
    load::h2load(here.ipv4(), "/ok", 100, 5)?;
    load::h2load(here.ipv6(), "/ok", 200, 5)?;
    let peer = |name: &str| link.at(REQUESTS, Role::Server, name);
    let of_here = |address: &str| {
        Series::at(REQUESTS, here.port(), Role::Client).with("peer", address).with("peer_service", "nginx")
    };
    // 101 to 127, and 128 to 140.
    let expected =
        [(peer("near"), 27 * 3), (peer("far"), 13 * 3), (of_here("127.0.0.1"), 100), (of_here("::1"), 200)];
    let scrape = mark.rises_by_exactly(&expected)?;
    ensure!(shown(&scrape, link.port(), Role::Server) == ["far", "near"], "an address is shown");
    // In the other namespace nobody of this node listens.
    let elsewhere = Series::at(REQUESTS, link.port(), Role::Client).with("peer", SERVER[0]);
    ensure!(scrape.values(&elsewhere, "peer_service").is_empty(), "a name is made up");
    Ok(())
}

#[test]
fn peers_that_differ_in_no_label_are_added_up() -> Result<()> {
    let agent = Setup::default().flags(&["--peers", "--peer-labels", "service"]).start()?;
    let here = Nginx::start()?;
    let mark = agent.mark()?;
    load::h2load(here.ipv4(), "/ok", 100, 5)?;
    load::h2load(here.ipv6(), "/ok", 200, 5)?;
    let all = Series::at(REQUESTS, here.port(), Role::Client);
    let scrape =
        mark.rises_by_exactly(&[(all.clone().with("peer_service", "nginx"), 300), (all.clone(), 300)])?;
    ensure!(scrape.values(&all, "peer").is_empty(), "an address is shown that nobody asked for");
    Ok(())
}
