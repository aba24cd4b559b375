//! What a tick costs follows from what is counted, and not from how many connections are open.

use std::{net::TcpStream, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    expect::gauges_are,
    http1,
    metrics::{Role, Series},
    nginx::Nginx,
    poll,
    server::Server,
    tool,
};

const FEW: u64 = 20;
/// Both ends are in this machine, and nginx has room for as many.
const MANY: u64 = 4_000;
const TICKS: u32 = 15;

/// More than this would show that somebody looks at connections: 8,000 ends at half a microsecond each are four times as much.
const MORE: Duration = Duration::from_millis(1);

/// The shortest of some passes over the kernel's tables: others were interrupted.
fn pass(agent: &Agent<'_>) -> Result<Duration> {
    let took = Series::named("traffic_probe_collection_seconds");
    let mut shortest = f64::INFINITY;
    for _ in 0..TICKS {
        shortest = shortest.min(agent.collected()?.sum(&took));
    }
    Ok(Duration::from_secs_f64(shortest))
}

#[test]
fn a_tick_costs_the_same_however_many_connections_are_idle() -> Result<()> {
    tool::raise_descriptor_limit(MANY + 200)?;
    let agent = Setup::default().alone().start()?;
    let nginx = Nginx::start()?;
    // A request in flight all the while: the age of the oldest one is asked for in each pass.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let server = Server::start(std::net::Ipv4Addr::LOCALHOST, move |stream: TcpStream| {
        let mut reader = std::io::BufReader::new(&stream);
        let _ = http1::head(&mut reader)?;
        let released = released.lock().map_err(|_| anyhow::anyhow!("another connection panicked"))?;
        // The test ends it, by a word or by dropping what it would say it with.
        let _ = released.recv_timeout(Duration::from_mins(5));
        Ok(())
    })?;
    let mut waiting = probe_tests::client::Client::connect(server.address())?;
    waiting.send(&probe_tests::client::Request::new("GET", "/"))?;
    let in_flight = Series::at("traffic_requests_in_flight", server.port(), Role::Server);
    gauges_are(&agent, &[(in_flight, 1)])?;

    let open = Series::at("traffic_connections_open", nginx.port(), Role::Server);
    let mut connections = Vec::new();
    let mut costs = Vec::new();
    for wanted in [FEW, MANY] {
        while (connections.len() as u64) < wanted {
            connections.push(TcpStream::connect(nginx.ipv4())?);
        }
        poll::until("the connections to be counted", || {
            Ok((agent.scrape()?.sum(&open) >= wanted as f64).then_some(()))
        })?;
        costs.push(pass(&agent)?);
    }
    println!("a pass with {FEW} idle connections takes {:?}, with {MANY} {:?}", costs[0], costs[1]);
    ensure!(
        costs[1] < costs[0] + MORE,
        "{MANY} idle connections cost {:?} a pass, and {FEW} {:?}",
        costs[1],
        costs[0]
    );
    drop(connections);
    release.send(())?;
    drop(waiting);
    server.finish()
}
