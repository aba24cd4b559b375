//! Segments that an attacker sends in the name of one end of a live connection, and that the other end's TCP does not
//! take: they are for nobody, and the connection's requests and bytes are those of the applications.
//!
//! The hook of the probe sees what comes before TCP looks at its place in the stream.

use std::{
    io::{BufReader, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use probe_tests::{
    agent::Agent,
    expect::Mark,
    frames::FrameSender,
    http1,
    metrics::{Role, Series},
    netns::Netns,
    options::{self, Numbers},
    server::Server,
    stream::Tally,
};

/// Requests before an attack, and as many behind it.
const REQUESTS: u64 = 10;
const GET: &[u8] = b"GET /real HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FORGED: [&[u8]; 2] =
    [b"DELETE /forged HTTP/1.1\r\nHost: forged\r\n\r\n", b"HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n"];

/// What is forged: how far behind the next number of the stream it lies, or behind the end of the window, and what it says.
#[derive(Clone, Copy, Debug)]
enum Attack {
    /// Data at a distance from the next number.
    Data(u32),
    /// Data at a distance from the end of the window.
    Beyond(u32),
    /// Data that has its place, and acknowledges so much more than was sent.
    Acknowledging(u32),
    /// The end of the stream at a distance from the next number.
    Farewell(u32),
    /// A reset at a distance from the next number, with a remark.
    Reset(u32),
    /// A new connection at a distance from the next number.
    Greeting(u32),
}

/// Backwards.
const fn back(distance: u32) -> u32 {
    distance.wrapping_neg()
}

const ATTACKS: [Attack; 25] = [
    Attack::Data(back(2_000)),
    Attack::Data(back(100)),
    Attack::Data(1 << 24),
    Attack::Data(1 << 28),
    Attack::Data((1 << 30) - 1),
    Attack::Data((1 << 30) + 1),
    Attack::Data((1 << 31) - 1),
    Attack::Data(1 << 31),
    Attack::Data((1 << 31) + 1),
    Attack::Beyond(1),
    Attack::Beyond(1_000),
    Attack::Acknowledging(1),
    Attack::Acknowledging(1_000),
    Attack::Acknowledging(1 << 30),
    Attack::Acknowledging(back(1 << 28)),
    Attack::Farewell(back(1_000)),
    Attack::Farewell(1 << 24),
    Attack::Farewell(1 << 29),
    Attack::Reset(back(1)),
    Attack::Reset(back(1_000)),
    Attack::Reset(1_000),
    Attack::Reset(1 << 24),
    Attack::Greeting(0),
    Attack::Greeting(1),
    Attack::Greeting(1 << 24),
];

/// In whose name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forger {
    Client,
    Server,
}

/// Two hosts on a cable, and an attacker at either end of it.
struct Scene {
    client: Netns,
    server: Netns,
    /// Of the client's end, and of the server's.
    macs: [[u8; 6]; 2],
    at_client: FrameSender,
    at_server: FrameSender,
}

impl Scene {
    fn new() -> Result<Self> {
        let (client, server) = (Netns::new()?, Netns::new()?);
        server.connect("near0", &client, "far0")?;
        let macs = [client.mac("far0")?, server.mac("near0")?];
        let at_client = FrameSender::new(&client, "far0")?;
        let at_server = FrameSender::new(&server, "near0")?;
        Ok(Self { client, server, macs, at_client, at_server })
    }

    /// Sends a segment in the name of one end of a connection.
    fn forge(&self, forger: Forger, attack: Attack, ends: [SocketAddr; 2], numbers: &Numbers) -> Result<()> {
        let (from, to) = if forger == Forger::Client { (0, 1) } else { (1, 0) };
        let (next, other, edge) = match forger {
            Forger::Client => (numbers.sent, numbers.received, numbers.sendable),
            Forger::Server => (numbers.received, numbers.sent, numbers.receivable),
        };
        let (sequence, acknowledged) = match attack {
            Attack::Data(by) | Attack::Farewell(by) | Attack::Reset(by) | Attack::Greeting(by) => {
                (next.wrapping_add(by), other)
            }
            Attack::Beyond(by) => (edge.wrapping_add(by), other),
            Attack::Acknowledging(by) => (next, other.wrapping_add(by)),
        };
        let builder = PacketBuilder::ethernet2(self.macs[from], self.macs[to]);
        let builder = match (ends[from].ip(), ends[to].ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => builder.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => builder.ipv6(from.octets(), to.octets(), 64),
            mixed => anyhow::bail!("{mixed:?}"),
        };
        // An urgent pointer and options that make no sense, too: they are not what it is dropped for.
        let mut segment =
            builder.tcp(ends[from].port(), ends[to].port(), sequence, 0).ack(acknowledged).urg(0xffff);
        segment = segment.options_raw(&[1, 2, 0, 3, 255, 0, 5, 1])?;
        segment = match attack {
            Attack::Farewell(_) => segment.fin(),
            Attack::Reset(_) => segment.rst(),
            Attack::Greeting(_) => segment.syn(),
            _ => segment.psh(),
        };
        let payload = if matches!(attack, Attack::Farewell(_)) { &[] } else { FORGED[from] };
        let mut frame = Vec::with_capacity(segment.size(payload.len()));
        segment.write(&mut frame, payload)?;
        if forger == Forger::Client { self.at_client.send(&frame) } else { self.at_server.send(&frame) }
    }
}

fn answer_all(stream: &TcpStream, tally: &Tally) -> Result<()> {
    let mut reader = BufReader::new(tally.of(stream));
    while let Some(head) = http1::head(&mut reader)? {
        ensure!(head.second::<String>()? == "/real", "the server was asked for {}", head.start);
        tally.of(stream).write_all(OK)?;
    }
    Ok(())
}

/// Asks, and gives the numbers that the connection has come to.
fn ask(stream: &TcpStream, tally: &Tally) -> Result<Numbers> {
    let mut reader = BufReader::new(tally.of(stream));
    for _ in 0..REQUESTS {
        tally.of(stream).write_all(GET)?;
        let head = http1::head(&mut reader)?.context("the server has gone")?;
        ensure!(head.second::<u16>()? == 200, "the answer is {}", head.start);
        http1::content(&mut reader, head.framing, &mut std::io::sink())?;
    }
    options::numbers(stream)
}

/// A connection that is attacked in the middle of its life, and what is to be counted of it.
fn attacked(scene: &Scene, address: IpAddr, forger: Forger, attack: Attack) -> Result<Vec<(Series, u64)>> {
    let (near, far) = (Tally::default(), Arc::new(Tally::default()));
    let tally = Arc::clone(&far);
    let server = scene.server.inside(|| Server::start(address, move |stream| answer_all(&stream, &tally)))?;
    let port = server.port();
    println!("port {port}: {attack:?} in the name of the {forger:?}, to {address}");
    let stream = scene.client.inside(|| Ok(probe_tests::stream::connect(server.address())?))?;
    stream.set_nodelay(true)?;
    let numbers = ask(&stream, &near)?;
    scene.forge(forger, attack, [stream.local_addr()?, server.address()], &numbers)?;
    ask(&stream, &near).with_context(|| format!("{attack:?} in the name of the {forger:?} had its way"))?;
    drop(stream);
    server.finish()?;
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let tally = if role == Role::Server { &*far } else { &near };
        let at = |name| Series::at(name, port, role);
        let bytes = |way| at("traffic_bytes_total").with("direction", way);
        expected.extend([
            (Series::requests(port, role), 2 * REQUESTS),
            (Series::requests(port, role).with("method", "GET").with("status", 200), 2 * REQUESTS),
            (bytes("receive"), tally.read()),
            (bytes("transmit"), tally.written()),
            (at("traffic_connections_opened_total"), 1),
            (at("traffic_connections_closed_total"), 1),
            (at("traffic_connection_resets_total"), 0),
        ]);
    }
    Ok(expected)
}

fn every_attack(address: IpAddr) -> Result<()> {
    let scene = Scene::new()?;
    let agent = Agent::start()?;
    let mark: Mark<'_> = agent.mark()?;
    let mut expected = Vec::new();
    for forger in [Forger::Client, Forger::Server] {
        for attack in ATTACKS {
            expected.extend(attacked(&scene, address, forger, attack)?);
        }
    }
    let scrape = mark.rises_by_exactly(&expected)?;
    let told = Series::named("traffic_probe_unmeasured_total").with("reason", "out_of_window");
    let told = mark.rise(&scrape, &told);
    println!("told as out of the window: {told}");
    // All but the two that are old, and the two that are so far ahead that they are: other tests' may be among them.
    ensure!(told >= (2 * (ATTACKS.len() - 4)) as f64, "only {told} segments are told as out of the window");
    Ok(())
}

#[test]
fn what_tcp_does_not_take_is_not_counted_by_ipv4() -> Result<()> {
    every_attack(Ipv4Addr::new(192, 0, 2, 1).into())
}

#[test]
fn what_tcp_does_not_take_is_not_counted_by_ipv6() -> Result<()> {
    every_attack(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into())
}
