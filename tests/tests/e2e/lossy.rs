//! A link that loses, duplicates and reorders packets, both ways: requests and bytes are those of the application.

use std::{
    io::{self, BufReader, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    http1::{self, Framing},
    link::{Conditions, Link},
    metrics::{Role, Series},
    netns::Netns,
    server::Server,
    stream::Tally,
};

const CONDITIONS: Conditions =
    Conditions { loss: 0.02, duplicates: 0.01, reordering: 0.02, delay: std::time::Duration::ZERO };
const CONNECTIONS: u64 = 40;
const REQUESTS_EACH: u64 = 1_250;
const REQUESTS: u64 = CONNECTIONS * REQUESTS_EACH;

/// Lengths of content: most of them fit a packet, some take many.
fn length(chance: &mut fastrand::Rng) -> usize {
    match chance.u8(..100) {
        0..70 => chance.usize(..400),
        70..95 => chance.usize(1_000..8_000),
        _ => chance.usize(20_000..60_000),
    }
}

/// A message with content of a length, told in its head or in chunks of up to 3,000 bytes.
fn message(start: &str, length: usize, framing: Framing) -> Vec<u8> {
    const CHUNK: usize = 3_000;
    let content = vec![b'a'; length];
    if framing == Framing::Chunks {
        let mut message = format!("{start}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in content.chunks(CHUNK).chain([&b""[..]]) {
            message.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            message.extend([chunk, b"\r\n"].concat());
        }
        return message;
    }
    [format!("{start}\r\nContent-Length: {length}\r\n\r\n").into_bytes(), content].concat()
}

/// Answers each request with as much content as it asks for by its target.
fn serve(stream: &TcpStream, tally: &Tally) -> Result<()> {
    let mut reader = BufReader::new(tally.of(stream));
    let mut writer = tally.of(stream);
    let mut chance = fastrand::Rng::with_seed(2);
    while let Some(head) = http1::head(&mut reader)? {
        http1::content(&mut reader, head.framing, &mut io::sink())?;
        let length = head.second::<String>()?.trim_start_matches('/').parse()?;
        let framing = if chance.u8(..4) == 0 { Framing::Chunks } else { Framing::Length(0) };
        writer.write_all(&message("HTTP/1.1 200 OK", length, framing))?;
    }
    Ok(())
}

/// Asks one request after the other on a connection.
fn ask(server: SocketAddr, seed: u64, tally: &Tally) -> Result<()> {
    let stream =
        probe_tests::stream::connect(server).with_context(|| format!("cannot connect to {server}"))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(tally.of(&stream));
    let mut writer = tally.of(&stream);
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..REQUESTS_EACH {
        let (sent, wanted) = (length(&mut chance), length(&mut chance));
        let start = format!("POST /{wanted} HTTP/1.1\r\nHost: test");
        let framing = if chance.u8(..4) == 0 { Framing::Chunks } else { Framing::Length(0) };
        let request = message(&start, sent, framing);
        // At times in two writes, the first of which may end within the head.
        let (first, second) =
            request.split_at(if chance.bool() { start.len() + chance.usize(..20) } else { 0 });
        writer.write_all(first)?;
        writer.write_all(second)?;
        let head = http1::head(&mut reader)?.context("the server has gone")?;
        let got = http1::content(&mut reader, head.framing, &mut io::sink())?;
        ensure!(got == wanted as u64, "{got} bytes of content instead of {wanted}");
    }
    Ok(())
}

fn ask_all(servers: &[SocketAddr], tally: &Tally) -> Result<()> {
    thread::scope(|scope| {
        let server = |number: u64| servers[usize::try_from(number).unwrap_or_default() % servers.len()];
        let clients: Vec<_> =
            (0..CONNECTIONS).map(|number| scope.spawn(move || ask(server(number), number, tally))).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })
}

/// One service by IPv4 and one by IPv6, since each has a socket of its own.
fn serve_both(tally: &Arc<Tally>) -> Result<[Server; 2]> {
    let start = |address: IpAddr| {
        let tally = Arc::clone(tally);
        Server::start(address, move |stream| serve(&stream, &tally))
    };
    Ok([
        start(Ipv4Addr::new(192, 0, 2, 2).into())?,
        start(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into())?,
    ])
}

/// Both services' counters together, so that the tally of both is their truth.
fn all(series: impl Fn(u16) -> Series, servers: &[Server]) -> Vec<Series> {
    servers.iter().map(|server| series(server.port())).collect()
}

#[test]
fn requests_and_bytes_are_exact_where_packets_are_lost_doubled_and_out_of_order() -> Result<()> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    let link = Link::lay(&near, &far, CONDITIONS, 5)?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let (client, at_server) = (Tally::default(), Arc::new(Tally::default()));
    let servers = far.inside(|| serve_both(&at_server))?;
    let addresses: Vec<_> = servers.iter().map(Server::address).collect();
    near.inside(|| ask_all(&addresses, &client))?;
    let scrape = agent.collected()?;
    let [sent, lost, duplicated, overtaken] = link.fates().all();
    println!("{sent} packets: {lost} lost, {duplicated} doubled, {overtaken} overtaken");
    ensure!(lost * 100 > sent && duplicated * 200 > sent, "the link was too good");
    ensure!(client.written() == at_server.read() && client.read() == at_server.written(), "bytes got lost");
    let mut wrong = Vec::new();
    for role in Role::BOTH {
        let (transmitted, received) = if role == Role::Client {
            (client.written(), client.read())
        } else {
            (at_server.written(), at_server.read())
        };
        let bytes = |way| move |port| Series::at("traffic_bytes_total", port, role).with("direction", way);
        let answered = |port| Series::requests(port, role).with("status", 200).with("method", "POST");
        for (series, truth) in [
            (all(|port| Series::requests(port, role), &servers), REQUESTS),
            (all(answered, &servers), REQUESTS),
            (all(bytes("transmit"), &servers), transmitted),
            (all(bytes("receive"), &servers), received),
        ] {
            let measured: f64 = series.iter().map(|series| mark.rise(&scrape, series)).sum();
            println!("{role:?}: {}: measured {measured}, truth {truth}", series[0]);
            if (measured - truth as f64).abs() > f64::EPSILON {
                wrong.push(format!("{}: measured {measured}, truth {truth}", series[0]));
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    servers.into_iter().try_for_each(Server::finish)
}
