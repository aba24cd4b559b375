//! Requests that come with the handshake of their connection, or that complete it.

use std::{
    io::{BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    http1,
    metrics::{Role, Series},
    netns::Netns,
    options,
    server::Server,
};
use socket2::{Domain, Socket, Type};

const TIMES: u64 = 10;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Requests on each connection.
const EACH: u64 = 3;

fn answer_all(mut stream: &TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream);
    while http1::head(&mut reader)?.is_some() {
        stream.write_all(OK)?;
    }
    Ok(())
}

/// Asks some on a connection of its own.
fn ask(server: SocketAddr, prepare: impl Fn(&Socket) -> Result<()>) -> Result<()> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    prepare(&socket)?;
    socket.connect(&server.into())?;
    let mut stream = TcpStream::from(socket);
    for _ in 0..EACH {
        stream.write_all(GET)?;
        stream.read_exact(&mut [0; OK.len()])?;
    }
    Ok(())
}

/// So many connections are counted with all of their requests and bytes, on both ends.
fn all_counted(
    netns: &Netns,
    address: IpAddr,
    listener: fn(&Socket) -> Result<()>,
    client: fn(&Socket) -> Result<()>,
) -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let server = netns.inside(|| Server::start_prepared(address, listener, |stream| answer_all(&stream)))?;
    let port = server.port();
    netns.inside(|| (0..TIMES).try_for_each(|_| ask(server.address(), client)))?;
    server.finish()?;
    let mut expected = Vec::new();
    for role in Role::BOTH {
        let all = TIMES * EACH;
        expected.push((Series::requests(port, role).with("status", 200), all));
        expected.push((Series::requests(port, role), all));
        expected.push((Series::at("traffic_connections_opened_total", port, role), TIMES));
        let (asked, answered) = (all * GET.len() as u64, all * OK.len() as u64);
        let ways = if role == Role::Server { [asked, answered] } else { [answered, asked] };
        for (way, bytes) in ["receive", "transmit"].into_iter().zip(ways) {
            let series = Series::at("traffic_bytes_total", port, role).with("direction", way);
            expected.push((series, bytes));
        }
    }
    mark.rises_by_exactly(&expected)?;
    Ok(())
}

/// As nginx with `listen ... deferred`: the request completes the handshake.
#[test]
fn a_request_that_completes_the_handshake_is_counted() -> Result<()> {
    for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let netns = Netns::new()?;
        all_counted(&netns, address, |socket| options::defer_accepting(socket, 5), |_| Ok(()))?;
        println!("{address}: {TIMES} connections with deferred accepting, {EACH} requests each");
    }
    Ok(())
}

/// TCP Fast Open: the first connection learns the cookie, those after it send the request with the SYN.
#[test]
fn a_request_that_comes_with_the_syn_is_counted() -> Result<()> {
    for address in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let netns = Netns::new()?;
        // 1: clients, 2: servers.
        netns.set("ipv4/tcp_fastopen", "3")?;
        all_counted(&netns, address, |socket| options::take_fast_open(socket, 64), options::fast_open)?;
        let fast = netns.tcp_counter("TCPFastOpenPassive")?;
        ensure!(fast == TIMES - 1, "{fast} connections were opened fast, not {}", TIMES - 1);
        println!("{address}: {TIMES} connections, {fast} with the first of {EACH} requests in the SYN");
    }
    Ok(())
}
