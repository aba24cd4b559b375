//! Clients that leave before their answer is there: what the server's log calls 200, or 499, is no failure of the server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    poll,
    server::Server,
    stream,
};

const CLIENTS: u64 = 20;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const DOWNLOAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n";
const EVENTS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n";

fn outcome(port: u16, role: Role, outcome: &'static str) -> Series {
    Series::at("traffic_request_outcomes_total", port, role)
        .with("protocol", "http1")
        .with("outcome", outcome)
}

fn cut_short(port: u16, role: Role, by: &'static str) -> Series {
    Series::at("traffic_responses_cut_short_total", port, role).with("protocol", "http1").with("by", by)
}

/// A server that begins to answer and goes on until its client has left.
fn endless(head: &'static [u8], more: &'static [u8]) -> Result<Server> {
    Server::start(Ipv4Addr::LOCALHOST, move |mut stream: TcpStream| {
        stream.read_exact(&mut vec![0; GET.len()])?;
        stream.write_all(head)?;
        while stream.write_all(more).is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    })
}

/// The rates once they show these requests.
fn rates(agent: &Agent<'_>, port: u16) -> Result<Scrape> {
    let all = Series::at("traffic_requests_per_second", port, Role::Server).with("protocol", "http1");
    poll::until("the rates to show the requests", || {
        let scrape = agent.scrape()?;
        Ok((scrape.sum(&all) > 0.0).then_some(scrape))
    })
}

fn clients_that_take_a_part(
    head: &'static [u8],
    more: &'static [u8],
    leave: fn(&TcpStream) -> Result<()>,
) -> Result<()> {
    let agent = Setup::default().alone().start()?;
    let server = endless(head, more)?;
    let (port, address) = (server.port(), server.address());
    let mark = agent.mark()?;
    for _ in 0..CLIENTS {
        let mut client = stream::connect(address)?;
        client.write_all(GET)?;
        client.read_exact(&mut vec![0; head.len() + more.len()])?;
        leave(&client)?;
    }
    server.finish()?;
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.push((Series::requests(port, role), CLIENTS));
        expected.push((Series::requests(port, role).with("status", 200), CLIENTS));
        expected.push((outcome(port, role, "success"), CLIENTS));
        expected.push((outcome(port, role, "failure"), 0));
        expected.push((outcome(port, role, "cancelled"), 0));
        expected.push((cut_short(port, role, "client"), CLIENTS));
        expected.push((cut_short(port, role, "server"), 0));
    }
    mark.rises_by_exactly(&expected)?;
    let scrape = rates(&agent, port)?;
    for role in Role::BOTH {
        let of = |name| Series::at(name, port, role).with("protocol", "http1");
        ensure!(scrape.get(&of("traffic_error_ratio")) == Some(0.0), "{role:?} fails: {}", scrape.text);
        let (all, done) = (of("traffic_requests_per_second"), of("traffic_transactions_per_second"));
        ensure!(scrape.get(&all) == scrape.get(&done), "{role:?} has fewer transactions: {}", scrape.text);
        // How long they stayed is in no quantile.
        let quantile = of("traffic_request_latency_seconds").with("quantile", "0.99");
        ensure!(scrape.get(&quantile).is_none(), "{role:?} has a P99: {}", scrape.text);
    }
    Ok(())
}

#[test]
fn downloads_that_clients_cancel_are_no_failures() -> Result<()> {
    clients_that_take_a_part(DOWNLOAD, &[b'x'; 1000], |client| {
        // What has not been read makes this a reset.
        Ok(client.shutdown(Shutdown::Both)?)
    })
}

#[test]
fn event_streams_that_clients_close_are_no_failures() -> Result<()> {
    clients_that_take_a_part(EVENTS, b"9\r\ndata: b\n\n\r\n", |client| Ok(client.shutdown(Shutdown::Write)?))
}

/// nginx logs them as 499.
#[test]
fn clients_that_do_not_wait_are_those_of_nginxs_499() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    for _ in 0..CLIENTS {
        let mut client = Client::connect(nginx.ipv4())?;
        client.send(&Request::new("GET", "/after-50ms"))?;
        client.reset()?;
    }
    // One that waits.
    Client::connect(nginx.ipv4())?.exchange(&Request::new("GET", "/after-50ms"))?;
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let all = Series::requests(nginx.port(), role);
        expected.push((all.clone().with("status", "cancelled"), CLIENTS));
        expected.push((all, CLIENTS + 1));
        expected.push((outcome(nginx.port(), role, "cancelled"), CLIENTS));
        expected.push((outcome(nginx.port(), role, "failure"), 0));
        expected.push((outcome(nginx.port(), role, "success"), 1));
        // Only of what was answered.
        let timed = Series::at("traffic_request_duration_seconds_count", nginx.port(), role);
        expected.push((timed, 1));
    }
    mark.rises_by_exactly(&expected)?;
    Ok(())
}

/// All of a server's failures are a rise of a counter that was there before.
#[test]
fn outcomes_are_there_at_zero_from_the_first_request_on() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let started = Instant::now();
    Client::connect(nginx.ipv4())?.exchange(&Request::new("GET", "/ok"))?;
    let scrape = poll::until("the first request to be counted", || {
        let scrape = agent.scrape()?;
        Ok(scrape.get(&outcome(nginx.port(), Role::Server, "success")).map(|_| scrape))
    })?;
    println!("after {:?}", started.elapsed());
    for role in Role::BOTH {
        for (name, value) in [("success", 1.0), ("failure", 0.0), ("cancelled", 0.0)] {
            let is = scrape.get(&outcome(nginx.port(), role, name));
            ensure!(is == Some(value), "{name} of {role:?} is {is:?}");
        }
        for by in ["client", "server"] {
            ensure!(scrape.get(&cut_short(nginx.port(), role, by)) == Some(0.0), "{by} of {role:?}");
        }
    }
    Ok(())
}
