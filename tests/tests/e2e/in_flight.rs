//! Requests that have no answer yet: a service that hangs shows before it answers.

use std::{
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::{gauges_are, within},
    http1,
    metrics::{Role, Series},
    poll,
    server::Server,
};

const HUNG: u64 = 3;
/// How right the age of the oldest request is: see `docs/reference/metrics.md`.
const EIGHTH: f64 = 0.125;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that answers when the test says so.
fn hanging() -> Result<(Server, mpsc::Sender<()>)> {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let server = Server::start(Ipv4Addr::LOCALHOST, move |stream: TcpStream| {
        let mut reader = BufReader::new(&stream);
        // A client that leaves without having read its answer ends the connection by a reset.
        while let Ok(Some(_)) = http1::head(&mut reader) {
            let released = released.lock().map_err(|_| anyhow!("another connection panicked"))?;
            poll::word(&released, "the test to have the server answer")?;
            drop(released);
            let _ = (&stream).write_all(OK);
        }
        Ok(())
    })?;
    Ok((server, release))
}

fn in_flight(port: u16, role: Role) -> Series {
    Series::at("traffic_requests_in_flight", port, role).with("protocol", "http1")
}

fn age(port: u16, role: Role) -> Series {
    Series::at("traffic_oldest_request_age_seconds", port, role).with("protocol", "http1")
}

/// The oldest age grows with the test's own clock, and goes when the answer comes.
#[test]
fn a_service_that_hangs_shows_before_it_answers() -> Result<()> {
    let agent = Setup::default().alone().start()?;
    let (server, release) = hanging()?;
    let port = server.port();
    let request = Request::new("GET", "/");
    let mut clients = Vec::new();
    let asked = Instant::now();
    for _ in 0..HUNG {
        let mut client = Client::connect(server.address())?;
        client.send(&request)?;
        clients.push(client);
    }
    gauges_are(&agent, &Role::BOTH.map(|role| (in_flight(port, role), HUNG)))?;
    let oldest = poll::until("the oldest request to be two seconds old", || {
        let scrape = agent.scrape()?;
        let now = asked.elapsed().as_secs_f64();
        Ok((now > 2.0).then_some((scrape, now)))
    });
    let (scrape, now) = oldest?;
    for role in Role::BOTH {
        // The figures are those of the last tick, 0.2 s ago at most.
        let figure = scrape.sum(&age(port, role));
        let most = now * (1.0 + EIGHTH);
        ensure!(figure < most, "{role:?}: {figure} s, and the request is {now} s old");
        within(0.1 + EIGHTH, &format!("{role:?}, age of the oldest request in seconds"), figure, now)?;
    }
    for _ in 0..HUNG {
        release.send(()).context("the server has ended")?;
    }
    let none = Role::BOTH.into_iter().flat_map(|role| [(in_flight(port, role), 0), (age(port, role), 0)]);
    gauges_are(&agent, &none.collect::<Vec<_>>())?;
    drop(clients);
    server.finish()
}

/// A connection that ends takes its requests with it.
#[test]
fn a_request_that_is_given_up_is_in_flight_no_more() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let (server, release) = hanging()?;
    let port = server.port();
    let mut client = Client::connect(server.address())?;
    client.send(&Request::new("GET", "/"))?;
    gauges_are(&agent, &Role::BOTH.map(|role| (in_flight(port, role), 1)))?;
    client.reset()?;
    gauges_are(&agent, &Role::BOTH.map(|role| (in_flight(port, role), 0)))?;
    let cancelled = |role| (Series::requests(port, role).with("status", "cancelled"), 1);
    mark.rises_by_exactly(&Role::BOTH.map(cancelled))?;
    // Its answer finds nobody.
    release.send(())?;
    server.finish()
}

/// A server that answers after as many milliseconds as the target says.
fn slow() -> Result<Server> {
    Server::start(Ipv4Addr::LOCALHOST, |stream: TcpStream| {
        let mut reader = BufReader::new(&stream);
        while let Some(head) = http1::head(&mut reader)? {
            let target: String = head.second()?;
            thread::sleep(Duration::from_millis(target.trim_start_matches('/').parse()?));
            (&stream).write_all(OK)?;
        }
        Ok(())
    })
}

/// Requests of all ages begin and end at once, on any CPU: what is left is the age of one that is there, to the last.
#[test]
fn an_age_is_that_of_a_request_that_is_there_whatever_has_ended() -> Result<()> {
    const CLIENTS: u64 = 24;
    let agent = Setup::default().alone().start()?;
    let server = slow()?;
    let (port, address) = (server.port(), server.address());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            thread::spawn(move || -> Result<()> {
                let mut client = Client::connect(address)?;
                // Some change their slots of time many times, some never; at most 2.5 s.
                for delay in [1, 3, 700 + 75 * number, 2, 40 * number, 20, 1, 5 * number] {
                    client.exchange(&Request::new("GET", &format!("/{delay}")))?;
                }
                Ok(())
            })
        })
        .collect();
    for client in clients {
        client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    let mut last = Client::connect(address)?;
    let asked = Instant::now();
    last.send(&Request::new("GET", "/4000"))?;
    for wait in [0.7, 1.5, 3.0] {
        let (scrape, now) = poll::until("the last request to be older", || {
            let scrape = agent.scrape()?;
            let now = asked.elapsed().as_secs_f64();
            Ok((now > wait).then_some((scrape, now)))
        })?;
        for role in Role::BOTH {
            let figure = scrape.sum(&age(port, role));
            // The figures are those of the last tick, 0.2 s ago at most.
            let youngest = (now - 0.3) * (1.0 - EIGHTH);
            ensure!(
                (youngest..now * (1.0 + EIGHTH)).contains(&figure),
                "{role:?}: {figure} s, and the request is {now} s old"
            );
        }
    }
    drop(last);
    server.finish()
}
