//! Services over UDP: datagrams, bytes and users, and who is the server.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use probe_tests::{
    agent::{Agent, Setup},
    dns::Dnsmasq,
    echo::{Echo, answer, ask, client},
    expect::{gauges_are, within},
    load::Iperf,
    metrics::{Role, Series},
    netns::Netns,
    poll, ports,
};

/// Headers of IPv4 and UDP.
const HEADERS: u64 = 28;
/// Headers of IPv6 and UDP.
const HEADERS_OF_6: u64 = 48;

fn users(port: u16) -> Series {
    Series::named("traffic_concurrent_users").with("port", port).with("transport", "udp")
}

fn series(name: &'static str, port: u16, role: Role, direction: &str) -> Series {
    Series::at(name, port, role).with("direction", direction).with("transport", "udp")
}

/// What one end sent, and with which headers.
#[derive(Clone, Copy)]
struct Sent {
    packets: u64,
    bytes: u64,
    headers: u64,
}

impl Sent {
    const fn by_ipv4(packets: u64, bytes: u64) -> Self {
        Self { packets, bytes, headers: packets * HEADERS }
    }
}

/// All counters of a service and its callers on this machine, if nothing was lost between them.
fn conversation(port: u16, asked: Sent, answered: Sent) -> Vec<(Series, u64)> {
    let mut expected = Vec::new();
    for (role, direction, sent) in [
        (Role::Client, "transmit", asked),
        (Role::Server, "receive", asked),
        (Role::Server, "transmit", answered),
        (Role::Client, "receive", answered),
    ] {
        expected.extend([
            (series("traffic_packets_total", port, role, direction), sent.packets),
            (series("traffic_bytes_total", port, role, direction), sent.bytes),
            (series("traffic_wire_bytes_total", port, role, direction), sent.bytes + sent.headers),
        ]);
    }
    expected
}

/// The user's own address in 127.0.0.0/8.
fn address(user: u16) -> Ipv4Addr {
    let [high, low] = user.to_be_bytes();
    Ipv4Addr::new(127, 9, high, low)
}

#[test]
fn a_dns_server_has_queries_answers_and_a_user() -> Result<()> {
    const QUERIES: u64 = 5000;
    let agent = Agent::start()?;
    let dnsmasq = Dnsmasq::start()?;
    let port = dnsmasq.port();
    let mark = agent.mark()?;
    let queries = dnsmasq.query(QUERIES)?;
    println!("{queries:?}");
    let asked = Sent::by_ipv4(queries.count, queries.count * queries.query);
    let answered = Sent::by_ipv4(queries.count, queries.count * queries.answer);
    mark.rises_by_exactly(&conversation(port, asked, answered))?;
    gauges_are(&agent, &[(users(port), 1)])?;
    // The same port over TCP is another service.
    dnsmasq.query_by_tcp()?;
    let opened = Series::at("traffic_connections_opened_total", port, Role::Server);
    mark.rises_by_exactly(&[(opened, 1)])?;
    mark.rises_by_exactly(&conversation(port, asked, answered))?;
    Ok(())
}

/// Its server answers from a socket that it connects to the client, at the same port as the next one's.
#[test]
fn what_iperf3_sends_is_counted_to_the_byte() -> Result<()> {
    let agent = Agent::start()?;
    let netns = Netns::new()?;
    let iperf = Iperf::start_within(&netns)?;
    let mark = agent.mark()?;
    let sent = iperf.run_datagrams(&netns, "127.0.0.1")?;
    println!("{sent:?}");
    // Four bytes to and fro announce the stream, before what iperf3 counts.
    let asked = Sent::by_ipv4(sent.packets + 1, sent.bytes + 4);
    mark.rises_by_exactly(&conversation(iperf.port(), asked, Sent::by_ipv4(1, 4)))?;
    gauges_are(&agent, &[(users(iperf.port()), 1)])?;
    Ok(())
}

/// A buffer that the kernel splits (`UDP_SEGMENT`), and takes whole where the receiver can (`UDP_GRO`), stands for the
/// datagrams that a receiver without that reads.
#[test]
fn a_buffer_of_several_datagrams_counts_as_those() -> Result<()> {
    const SIZE: u64 = 500;
    const BYTES: u64 = 10 * SIZE + 300;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    for joined in [false, true] {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, ports::free()?))?;
        server.set_read_timeout(Some(Duration::from_secs(10)))?;
        setsockopt(&server, sockopt::UdpGroSegment, &joined)?;
        let client = client(address(1))?;
        setsockopt(&client, sockopt::UdpGsoSegment, &i32::try_from(SIZE)?)?;
        let sent = client.send_to(&vec![7; usize::try_from(BYTES)?], server.local_addr()?)?;
        ensure!(sent as u64 == BYTES, "{sent} bytes were sent");
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let (mut bytes, mut reads) = (0, 0);
        while bytes < BYTES {
            bytes += server.recv(&mut buffer)? as u64;
            reads += 1;
        }
        let datagrams = BYTES.div_ceil(SIZE);
        ensure!(reads == if joined { 1 } else { datagrams }, "{reads} reads");
        let asked = Sent::by_ipv4(datagrams, BYTES);
        mark.rises_by_exactly(&conversation(server.local_addr()?.port(), asked, Sent::by_ipv4(0, 0)))?;
    }
    Ok(())
}

/// What IP takes apart and puts together is one datagram.
#[test]
fn the_largest_and_the_smallest_datagram_count_as_one_each() -> Result<()> {
    const LARGEST: usize = 65_507;
    let agent = Agent::start()?;
    let echo = Echo::start(Ipv4Addr::LOCALHOST)?;
    let mark = agent.mark()?;
    let client = client(address(2))?;
    ask(&client, echo.address(), &vec![1; LARGEST])?;
    ask(&client, echo.address(), &[])?;
    let both = Sent::by_ipv4(2, LARGEST as u64);
    mark.rises_by_exactly(&conversation(echo.port(), both, both))?;
    Ok(())
}

#[test]
fn a_client_is_one_user_whatever_its_sockets_and_leaves_with_the_window() -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(3);
    let agent = Setup::default().flags(&["--users-window", "3s"]).start()?;
    // Both are one service: one has the port for an address, the other for all the rest of both families.
    let near = Echo::start(Ipv4Addr::LOCALHOST)?;
    let port = near.port();
    let _dual = Echo::start_at((Ipv6Addr::UNSPECIFIED, port).into())?;
    let elsewhere = SocketAddr::from((address(9), port));
    let mark = agent.mark()?;
    // Two sockets of an address; the second is connected.
    ask(&client(address(1))?, near.address(), b"one")?;
    let connected = client(address(1))?;
    connected.connect(near.address())?;
    connected.send(b"two")?;
    answer(&connected, b"two")?;
    // The same to the socket of IPv6, which has it as a mapped address, and from one of IPv6 in turn.
    ask(&client(address(1))?, elsewhere, b"three")?;
    let mapped = |address: Ipv4Addr, port| SocketAddr::from((address.to_ipv6_mapped(), port));
    ask(&client(address(1).to_ipv6_mapped())?, mapped(address(9), port), b"four")?;
    // Others.
    ask(&client(address(2))?, near.address(), b"five")?;
    ask(&client(Ipv6Addr::LOCALHOST)?, (Ipv6Addr::LOCALHOST, port).into(), b"six")?;
    let last = Instant::now();
    let all = Sent { packets: 6, bytes: 22, headers: 5 * HEADERS + HEADERS_OF_6 };
    mark.rises_by_exactly(&conversation(port, all, all))?;
    let there = agent.scrape()?.sum(&users(port));
    ensure!(
        (there - 3.0).abs() < f64::EPSILON,
        "{there} users, {:?} after the last datagram",
        last.elapsed()
    );
    poll::until("the window to pass", || Ok((agent.scrape()?.sum(&users(port)) == 0.0).then_some(())))?;
    let passed = last.elapsed();
    println!("no user {passed:?} after the last datagram");
    // A tick may be under way at the end of the window, and the scrape sees the next; and machines are busy.
    ensure!(passed + Duration::from_millis(300) > WINDOW && passed < WINDOW * 2, "0 users after {passed:?}");
    // One who comes back is a user again.
    ask(&client(address(2))?, near.address(), b"seven")?;
    gauges_are(&agent, &[(users(port), 1)])?;
    Ok(())
}

#[test]
fn users_beyond_the_table_are_estimated() -> Result<()> {
    const USERS: u16 = 5000;
    /// Three standard errors.
    const BOUND: f64 = 0.06;
    let agent = Setup::default().flags(&["--users-window", "10m", "--max-clients", "500"]).start()?;
    let echo = Echo::start(Ipv4Addr::LOCALHOST)?;
    for user in 0..USERS {
        ask(&client(address(user))?, echo.address(), b"here")?;
    }
    let scrape = agent.collected()?;
    within(BOUND, "users", scrape.sum(&users(echo.port())), f64::from(USERS))?;
    let full = Series::named("traffic_probe_unmeasured_total").with("reason", "clients_full");
    ensure!(scrape.sum(&full) > 0.0, "the table was never full");
    Ok(())
}

/// A server that nobody has spoken to yet, at a port that it chose, and that speaks to a caller first.
#[test]
fn who_speaks_first_from_a_chosen_port_is_a_server() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, ports::free()?))?;
    let port = server.local_addr()?.port();
    // Nobody need be there to hear it, and the port stays another's.
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let free = nobody.local_addr()?;
    drop(nobody);
    server.send_to(b"hello", free)?;
    let packets = |role, direction| series("traffic_packets_total", port, role, direction);
    mark.rises_by_exactly(&[
        (packets(Role::Server, "transmit"), 1),
        (packets(Role::Client, "transmit"), 0),
        (series("traffic_bytes_total", port, Role::Server, "transmit"), 5),
    ])?;
    // One that was given its port, and asks where nobody is, is a client all the same.
    let closed = ports::free()?;
    client(address(4))?.send_to(b"anybody?", (Ipv4Addr::LOCALHOST, closed))?;
    mark.rises_by_exactly(&[
        (series("traffic_packets_total", closed, Role::Client, "transmit"), 1),
        (series("traffic_packets_total", closed, Role::Server, "receive"), 0),
    ])?;
    Ok(())
}

/// Their first datagram was missed: a server at a port of its choice goes on by sending, its client by receiving.
#[test]
fn sockets_older_than_the_agent_have_their_roles_and_a_server_its_name() -> Result<()> {
    let dnsmasq = Dnsmasq::start()?;
    let echo = Echo::start(Ipv4Addr::LOCALHOST)?;
    let port = echo.port();
    let older = client(address(5))?;
    ask(&older, echo.address(), b"before")?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    echo.socket().send_to(b"news", older.local_addr()?)?;
    answer(&older, b"news")?;
    ask(&older, echo.address(), b"after")?;
    mark.rises_by_exactly(&conversation(port, Sent::by_ipv4(1, 5), Sent::by_ipv4(2, 9)))?;
    gauges_are(&agent, &[(users(port), 1)])?;
    let queries = dnsmasq.query(100)?;
    let received = series("traffic_packets_total", dnsmasq.port(), Role::Server, "receive");
    mark.rises_by_exactly(&[(received.with("service", "dnsmasq"), queries.count)])?;
    Ok(())
}

/// A datagram that finds no room in its receiver's buffer has come all the same; who reads sees fewer.
#[test]
fn what_the_receiver_has_no_room_for_has_been_received() -> Result<()> {
    const SENT: u64 = 1000;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, ports::free()?))?;
    setsockopt(&server, sockopt::RcvBuf, &4096)?;
    let client = client(IpAddr::from(address(6)))?;
    for _ in 0..SENT {
        client.send_to(&[1; 100], server.local_addr()?)?;
    }
    server.set_nonblocking(true)?;
    let mut read = 0;
    loop {
        match server.recv(&mut [0; 200]) {
            Ok(_) => read += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(read < SENT, "all {read} found room");
    let port = server.local_addr()?.port();
    mark.rises_by_exactly(&conversation(port, Sent::by_ipv4(SENT, SENT * 100), Sent::by_ipv4(0, 0)))?;
    Ok(())
}
