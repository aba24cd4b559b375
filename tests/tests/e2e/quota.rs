//! One service whose clients make up series as fast as they can takes no room from the others.

use std::{
    collections::BTreeSet,
    io::{BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Setup,
    api,
    client::{Client, Request},
    http1,
    metrics::{Role, Scrape, Series},
    server::Server,
};
use serde_json::Value;

/// What a service may have.
const QUOTA: u32 = 512;

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// The method of a series that was there before the flood, which has none of this kind.
const EARLY: &str = "HEAD";

/// Requests of each method, every one with a status of its own: 7,200 series, if they were let.
const STATUSES: std::ops::Range<u16> = 100..1000;

/// Answers `/anything/204` with status 204, and so on.
fn as_asked(mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(head) = http1::head(&mut reader)? {
        let target: String = head.second()?;
        let (_, status) = target.rsplit_once('/').context("a target without a status")?;
        let status: u16 = status.parse()?;
        write!(stream, "HTTP/1.1 {status} As asked\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

fn ask(client: &mut Client, method: &str, route: &str, status: u16) -> Result<()> {
    let answer = client.exchange(&Request::new(method, &format!("/{route}/{status}")))?;
    ensure!(answer.status == status, "{method} /{route}/{status} was answered with {}", answer.status);
    Ok(())
}

/// Statuses that end a message: those below 200 announce another, and 204 and 304 have no length to agree with.
fn statuses() -> impl Iterator<Item = u16> {
    STATUSES.filter(|status| *status >= 200 && !matches!(status, 204 | 304))
}

/// Has the server asked for every series there is, each under a path of its own, and now and then for one that was there
/// before: how often for one and the other.
fn flood(server: SocketAddr) -> Result<(u64, u64)> {
    let (mut client, mut early) = (Client::connect(server)?, Client::connect(server)?);
    ask(&mut early, EARLY, "there", 200)?;
    let (mut asked, mut asked_early) = (0, 1);
    for method in METHODS {
        for status in statuses() {
            ask(&mut client, method, &format!("{}{status}", method.to_lowercase()), status)?;
            asked += 1;
            if asked % 16 == 0 {
                ask(&mut early, EARLY, "there", 200)?;
                asked_early += 1;
            }
        }
    }
    Ok((asked, asked_early))
}

/// Statuses that were folded into a class are that class for the API's readers too, and no number.
fn the_api_has_the_same_statuses(document: &Value, scrape: &Scrape, port: u16) -> Result<()> {
    let mut told = BTreeSet::new();
    for service in document["services"].as_array().context("services")? {
        let is_flooded = service["port"] == port && service["role"] == "server";
        let requests = service["requests"].as_array().context("requests")?.iter().filter(|_| is_flooded);
        for kind in requests.filter_map(|requests| requests["kinds"].as_array()).flatten() {
            told.insert(kind["status"].as_str().context("a status")?);
        }
    }
    let exported: BTreeSet<_> =
        scrape.values(&Series::requests(port, Role::Server), "status").into_iter().collect();
    ensure!(told.contains("2xx"), "the API has no class: {told:?}");
    ensure!(told == exported, "the API has {told:?}, the metrics have {exported:?}");
    Ok(())
}

#[test]
fn a_service_whose_clients_make_up_series_takes_no_room_from_others() -> Result<()> {
    const REQUESTS: u64 = 500;
    let quota = QUOTA.to_string();
    // Were it not for the quota, the flood's 6,384 series would fill this table.
    let flags = ["--max-series-per-service", &quota, "--max-series", "4096", "--routes"];
    let agent = Setup::default().flags(&flags).alone().start()?;
    let flooded = Server::start(Ipv4Addr::LOCALHOST, as_asked)?;
    let other = Server::start(Ipv4Addr::LOCALHOST, as_asked)?;
    let (there, port) = (flooded.port(), other.port());
    let mark = agent.mark()?;
    let (asked, asked_early) = flood(flooded.address())?;
    let mut client = Client::connect(other.address())?;
    for _ in 0..REQUESTS {
        ask(&mut client, "GET", "normal", 200)?;
    }
    drop(client);
    flooded.finish()?;
    other.finish()?;
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.push((Series::requests(there, role), asked + asked_early));
        // A series that was there before the flood stays what it is.
        let early = Series::requests(there, role).with("method", EARLY).with("route", "/there/*");
        expected.push((early.with("status", 200), asked_early));
        expected.push((Series::requests(port, role).with("method", "GET").with("status", 200), REQUESTS));
        expected.push((Series::requests(port, role), REQUESTS));
    }
    let reason = |name| Series::named("traffic_probe_unmeasured_total").with("reason", name);
    expected.push((reason("latency_full"), 0));
    mark.rises_by_exactly(&expected)?;
    let (document, scrape) = api::with_metrics(&agent, "/api/v1/services")?;
    the_api_has_the_same_statuses(&document, &scrape, there)?;
    let turned_away = mark.rise(&scrape, &reason("service_series_full"));
    let classes: f64 = Role::BOTH
        .iter()
        .flat_map(|role| (2..=9).map(move |class| (role, format!("{class}xx"))))
        .map(|(role, class)| scrape.sum(&Series::requests(there, *role).with("status", class)))
        .sum();
    let statuses = scrape.values(&Series::requests(there, Role::Server), "status").len();
    let room = Series::named("traffic_probe_table_entries").with("table", "series");
    let entries = scrape.get(&room).context("the table has no series")?;
    println!(
        "{asked} series asked for at either end; {turned_away} requests past the quota, {classes} in classes; \
         {statuses} statuses shown; {entries} entries in all"
    );
    ensure!(turned_away > 0.0, "the flood was too weak");
    ensure!((turned_away - classes).abs() < f64::EPSILON, "told and counted differ");
    ensure!(statuses < QUOTA as usize, "{statuses} statuses are shown");
    ensure!(entries < 4096.0, "the table is full");
    Ok(())
}
