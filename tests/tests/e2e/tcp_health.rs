//! What TCP itself knows of its connections: round-trip times, what it sent again, resets, and packets on the wire.

use std::{
    io::{BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    client::{Client, Request},
    expect::within,
    http1,
    link::{Conditions, Link},
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
    server::Server,
};

/// The far end of a link.
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const CONNECTIONS: u64 = 20;
const REQUESTS_EACH: u64 = 20;
const CONTENT: usize = 20_000;

/// Two network namespaces, which speak to each other by a link, and of IP only version 4: no other packet is on it.
fn linked(conditions: Conditions) -> Result<(Netns, Netns, Link)> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    for netns in [&near, &far] {
        netns.set("ipv6/conf/all/disable_ipv6", "0")?;
    }
    let link = Link::lay(&near, &far, conditions, 11)?;
    for netns in [&near, &far] {
        netns.set("ipv6/conf/all/disable_ipv6", "1")?;
    }
    Ok((near, far, link))
}

fn serve(stream: &TcpStream) -> Result<()> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {CONTENT}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + CONTENT, b'a');
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while http1::head(&mut reader)?.is_some() {
        writer.write_all(&answer)?;
    }
    Ok(())
}

/// Asks on connections of its own, one after the other, and says how long the handshakes took.
fn ask(server: SocketAddr) -> Result<(Vec<Client>, Duration)> {
    let mut handshakes = Duration::ZERO;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let started = Instant::now();
        clients.push(Client::connect(server)?);
        handshakes += started.elapsed();
    }
    for client in &mut clients {
        for _ in 0..REQUESTS_EACH {
            client.exchange(&Request::new("GET", "/"))?;
        }
    }
    Ok((clients, handshakes))
}

/// What the kernel says that it sent again, but for what has no connection yet: a SYN-ACK.
#[test]
fn what_tcp_sent_again_is_what_the_kernel_says() -> Result<()> {
    let conditions = Conditions { loss: 0.03, ..Conditions::default() };
    let (near, far, _link) = linked(conditions)?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let server = far.inside(|| Server::start(FAR, |stream| serve(&stream)))?;
    let (clients, _) = near.inside(|| ask(server.address()))?;
    drop(clients);
    let port = server.port();
    server.finish()?;
    quiet(&near)?;
    quiet(&far)?;
    let scrape = agent.collected()?;
    for (role, netns) in [(Role::Client, &near), (Role::Server, &far)] {
        let mut truth = netns.tcp_counter("RetransSegs")?;
        if role == Role::Server {
            truth -= netns.tcp_counter("TCPSynRetrans")?;
        }
        let figure = mark.rise(&scrape, &Series::at("traffic_tcp_retransmits_total", port, role));
        println!("{role:?}: sent again: measured {figure}, truth {truth}");
        ensure!(
            (figure - truth as f64).abs() < f64::EPSILON,
            "{role:?}: {figure} sent again, the kernel says {truth}"
        );
    }
    let sent_again = mark.rise(&scrape, &Series::named("traffic_tcp_retransmits_total").with("port", port));
    ensure!(sent_again > 10.0, "the link was too good");
    Ok(())
}

/// Waits until no connection is left that could send something again.
fn quiet(netns: &Netns) -> Result<()> {
    probe_tests::poll::until("the connections to end", || {
        let table = netns.inside(|| Ok(std::fs::read_to_string("/proc/thread-self/net/tcp")?))?;
        // TIME_WAIT (06) sends nothing by itself.
        let busy = table.lines().skip(1).any(|line| line.split_whitespace().nth(3) != Some("06"));
        Ok((!busy).then_some(()))
    })
}

#[test]
fn round_trip_times_are_those_of_the_handshake() -> Result<()> {
    let conditions = Conditions { delay: Duration::from_millis(20), ..Conditions::default() };
    let (near, far, _link) = linked(conditions)?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let server = far.inside(|| Server::start(FAR, |stream| serve(&stream)))?;
    let port = server.port();
    let (clients, handshakes) = near.inside(|| ask(server.address()))?;
    let truth = handshakes.as_secs_f64() / CONNECTIONS as f64;
    let scrape = agent.collected()?;
    for role in Role::BOTH {
        let [sum, count] = ["traffic_tcp_rtt_seconds_sum", "traffic_tcp_rtt_seconds_count"]
            .map(|name| mark.rise(&scrape, &Series::at(name, port, role)));
        ensure!(
            count >= CONNECTIONS as f64,
            "{role:?}: {count} round-trip times of {CONNECTIONS} connections"
        );
        within(0.05, &format!("{role:?}, round-trip time in seconds"), sum / count, truth)?;
    }
    drop(clients);
    server.finish()
}

/// Bytes and packets that an end of the link has received and sent, once it has been quiet for longer than an
/// acknowledgement is delayed.
fn carried_when_quiet(netns: &Netns) -> Result<[[u64; 2]; 2]> {
    const QUIET: Duration = Duration::from_millis(300);
    let mut last = ([[0; 2]; 2], Instant::now());
    probe_tests::poll::until("the link to be quiet", || {
        let now = netns.statistics("bad0")?.map(|carried| [carried.bytes, carried.packets]);
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok((last.1.elapsed() > QUIET).then_some(now))
    })
}

#[test]
fn bytes_on_the_wire_are_those_of_the_interface() -> Result<()> {
    let (near, far, _link) = linked(Conditions { loss: 0.01, ..Conditions::default() })?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let server = far.inside(|| Server::start(FAR, |stream| serve(&stream)))?;
    let port = server.port();
    let before = [carried_when_quiet(&near)?, carried_when_quiet(&far)?];
    // While they are open: of what the kernel sends for a connection that has gone (TIME_WAIT), no socket is left.
    let (clients, _) = near.inside(|| ask(server.address()))?;
    let after = [carried_when_quiet(&near)?, carried_when_quiet(&far)?];
    let scrape = agent.collected()?;
    for (end, role) in [Role::Client, Role::Server].into_iter().enumerate() {
        for (way, direction) in ["receive", "transmit"].into_iter().enumerate() {
            let [bytes, packets] = ["traffic_wire_bytes_total", "traffic_packets_total"]
                .map(|name| mark.rise(&scrape, &Series::at(name, port, role).with("direction", direction)));
            let truth = [0, 1].map(|i| (after[end][way][i] - before[end][way][i]) as f64);
            println!("{role:?}, {direction}: measured {bytes} bytes in {packets} packets, truth {truth:?}");
            ensure!(
                (bytes - truth[0]).abs() < f64::EPSILON && (packets - truth[1]).abs() < f64::EPSILON,
                "{role:?}, {direction}: measured {bytes} bytes in {packets} packets, the interface says {truth:?}"
            );
        }
    }
    drop(clients);
    server.finish()
}

#[test]
fn a_reset_is_told_from_a_farewell() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let request = Request::new("GET", "/ok");
    for client in 0..5 {
        let mut stream = Client::connect(nginx.ipv4())?;
        stream.exchange(&request)?;
        if client < 3 {
            stream.reset()?;
        }
    }
    // What the server ends by a reset: it closes with something unread.
    let server =
        Server::start(Ipv4Addr::LOCALHOST, |stream| (&stream).read_exact(&mut [0]).context("no byte"))?;
    let mut rude = probe_tests::stream::connect(server.address())?;
    rude.write_all(b"more than one byte")?;
    let ended = rude.read(&mut [0]);
    ensure!(ended.is_err(), "the server closed without a reset: {ended:?}");
    let mut expected = Vec::new();
    for role in Role::BOTH {
        for (port, resets, closed) in [(nginx.port(), 3, 5), (server.port(), 1, 1)] {
            expected.push((Series::at("traffic_connection_resets_total", port, role), resets));
            expected.push((Series::at("traffic_connections_closed_total", port, role), closed));
        }
    }
    mark.rises_by_exactly(&expected)?;
    server.finish()
}
