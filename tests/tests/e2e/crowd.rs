//! More users than there is room for, and as many as there is.

use std::{
    env,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::gauges_are,
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    poll, tool,
};

/// Three standard errors of the estimate: see `docs/reference/metrics.md`.
const BOUND: f64 = 0.06;
const THREADS: u32 = 4;

/// The user's own address in 127.0.0.0/8, of which the machine has 16 million; those that end in 0 and 255 too.
fn address(user: u32) -> IpAddr {
    let [_, a, b, c] = (user + (1 << 16)).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, a, b, c))
}

/// Each user comes, asks and goes; every tenth comes twice. By a reset, which leaves no port behind that has to wait.
fn come_and_go(nginx: &Nginx, users: u32) -> Result<u64> {
    let server = nginx.ipv4();
    let visit = move |user| {
        let mut client = Client::connect_from(address(user), server)?;
        client.exchange(&Request::new("GET", "/ok"))?;
        client.reset()
    };
    thread::scope(|scope| {
        let part = |number: u32| {
            move || -> Result<u64> {
                let mut visits = 0;
                for user in (number..users).step_by(THREADS as usize) {
                    for _ in 0..=u32::from(user % 10 == 0) {
                        visit(user)?;
                        visits += 1;
                    }
                }
                Ok(visits)
            }
        };
        let parts: Vec<_> = (0..THREADS).map(|number| scope.spawn(part(number))).collect();
        parts.into_iter().map(|part| part.join().expect("a part of the crowd panicked")).sum()
    })
}

fn users(scrape: &Scrape, port: u16) -> f64 {
    scrape.sum(&Series::named("traffic_concurrent_users").with("port", port))
}

fn resident(agent: &Agent<'_>) -> Result<f64> {
    Ok(agent.scrape()?.sum(&Series::named("process_resident_memory_bytes")) / 1_048_576.0)
}

/// Waits until all requests are counted, and for a pass over the tables that began later: of users it looks first.
fn counted(agent: &Agent<'_>, port: u16, visits: u64) -> Result<Scrape> {
    let requests = Series::requests(port, Role::Server).with("status", 200);
    poll::until("the requests to be counted", || {
        let scrape = agent.collected()?;
        let counted = scrape.sum(&requests);
        ensure!(counted <= visits as f64, "{counted} requests counted of {visits}");
        Ok((counted >= visits as f64).then_some(()))
    })?;
    // The first may be of a pass that was under way.
    agent.collected()?;
    agent.collected()
}

#[test]
fn a_hundred_thousand_users_are_counted_exactly() -> Result<()> {
    const USERS: u32 = 100_000;
    let agent = Setup::default().flags(&["--users-window", "10m"]).start()?;
    let nginx = Nginx::start()?;
    let visits = come_and_go(&nginx, USERS)?;
    counted(&agent, nginx.port(), visits)?;
    let series = Series::named("traffic_concurrent_users").with("port", nginx.port());
    let scrape = gauges_are(&agent, &[(series, u64::from(USERS))])?;
    let counted = users(&scrape, nginx.port());
    println!("{visits} visits of {USERS} users: {counted} users, agent {:.1} MiB", resident(&agent)?);
    Ok(())
}

/// `TRAFFIC_PROBE_CROWD` says how many come, in place of three times as many as there is room for.
#[test]
fn more_users_than_there_is_room_for_are_estimated() -> Result<()> {
    const ROOM: u32 = 20_000;
    let crowd = match env::var("TRAFFIC_PROBE_CROWD") {
        Ok(crowd) => crowd.parse().context("TRAFFIC_PROBE_CROWD is no number")?,
        Err(_) => 3 * ROOM,
    };
    let room = ROOM.to_string();
    let agent = Setup::default().flags(&["--users-window", "10m", "--max-clients", &room]).start()?;
    let nginx = Nginx::start()?;
    let before = resident(&agent)?;
    let visits = come_and_go(&nginx, crowd)?;
    let scrape = counted(&agent, nginx.port(), visits)?;
    let estimate = users(&scrape, nginx.port());
    let error = estimate / f64::from(crowd) - 1.0;
    println!(
        "{visits} visits of {crowd} users, room for {ROOM}: {estimate} users, off by {:.2} %; agent {before:.1} MiB before, {:.1} after",
        error * 100.0,
        resident(&agent)?
    );
    ensure!(error.abs() < BOUND, "{estimate} users instead of {crowd}");
    let entries = scrape.sum(&Series::named("traffic_probe_table_entries").with("table", "clients"));
    ensure!(entries <= f64::from(ROOM), "{entries} clients in a table for {ROOM}");
    let told = scrape.sum(&Series::named("traffic_probe_unmeasured_total").with("reason", "clients_full"));
    ensure!(told >= f64::from(crowd - ROOM), "{told} users without room told of {}", crowd - ROOM);
    Ok(())
}

/// Who says nothing is a user all the same while connected, in the sample as in the table; and none once gone.
#[test]
fn an_estimated_user_stays_while_connected_and_goes() -> Result<()> {
    const ROOM: u32 = 1_500;
    const SILENT: u32 = 5 * ROOM;
    const WINDOW: Duration = Duration::from_secs(2);
    tool::raise_descriptor_limit(u64::from(SILENT) + 200)?;
    let room = ROOM.to_string();
    let agent = Setup::default().flags(&["--users-window", "2s", "--max-clients", &room]).start()?;
    let nginx = Nginx::start()?;
    let port = nginx.port();
    let connected = (0..SILENT)
        .map(|user| Client::connect_from(address(user), nginx.ipv4()))
        .collect::<Result<Vec<_>>>()?;
    let is_close = |scrape: &Scrape| (users(scrape, port) / f64::from(SILENT) - 1.0).abs() < BOUND;
    let open = Series::at("traffic_connections_open", port, Role::Server);
    poll::until("the connections to be counted", || {
        Ok((agent.scrape()?.sum(&open) >= f64::from(SILENT)).then_some(()))
    })?;
    let full = Series::named("traffic_probe_unmeasured_total").with("reason", "clients_full");
    let told = agent.collected()?.sum(&full);
    ensure!(told >= f64::from(SILENT - ROOM), "{told} users without room told of {}", SILENT - ROOM);
    let since = std::time::Instant::now();
    while since.elapsed() < 3 * WINDOW {
        let scrape = agent.collected()?;
        ensure!(
            is_close(&scrape),
            "{} users instead of {SILENT} after {:?}",
            users(&scrape, port),
            since.elapsed()
        );
    }
    println!("{} users of {SILENT} after three windows of silence", users(&agent.scrape()?, port));
    drop(connected);
    poll::until("the users to go", || Ok((users(&agent.scrape()?, port) == 0.0).then_some(())))
}
