//! What TCP allows, and an observer trips over: every way to end a connection, in the midst of an answer or beside one,
//! half of one, and sockets that change hands.

use std::{
    io::{BufReader, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    os::fd::OwnedFd,
    process::Command,
    sync::Barrier,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    expect::{Mark, gauges_are},
    http1,
    link::{Conditions, Link},
    metrics::{Role, Series},
    netns::Netns,
    server::Server,
};
use socket2::{SockRef, TcpKeepalive};

const TIMES: u64 = 5;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nno more than this";

/// Reads a request, if one comes.
fn asked(stream: &TcpStream) -> Result<bool> {
    // By the byte, so that nothing behind the head is read with it.
    Ok(http1::head(&mut BufReader::with_capacity(1, stream))?.is_some())
}

/// Answers every request until the client has no more.
fn answer_all(mut stream: TcpStream) -> Result<()> {
    while asked(&stream)? {
        stream.write_all(OK)?;
    }
    Ok(())
}

/// Asks, and reads so many bytes.
fn ask(mut stream: &TcpStream, answer: usize) -> Result<()> {
    stream.write_all(GET)?;
    Ok(stream.read_exact(&mut vec![0; answer])?)
}

/// Both ends' requests are these, by method and status, and no others; their connections have been opened and closed.
fn counted(
    agent: &Agent<'_>,
    mark: &Mark<'_>,
    port: u16,
    kinds: &[(&str, &str, u64)],
    connections: u64,
) -> Result<()> {
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.push((Series::requests(port, role), kinds.iter().map(|kind| kind.2).sum()));
        for (method, status, count) in kinds {
            let series = Series::requests(port, role).with("method", method);
            expected.push((series.with("status", status), *count));
        }
        expected.push((Series::at("traffic_connections_opened_total", port, role), connections));
        expected.push((Series::at("traffic_connections_closed_total", port, role), connections));
        expected.push((Series::at("traffic_connection_failures_total", port, role), 0));
    }
    mark.rises_by_exactly(&expected)?;
    gauges_are(agent, &Role::BOTH.map(|role| (Series::at("traffic_connections_open", port, role), 0)))?;
    println!("port {port}: {kinds:?} on {connections} connections, on both ends");
    Ok(())
}

/// Has clients call a server on the loopback, one after the other.
fn conversations(
    agent: &Agent<'_>,
    serve: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
    call: impl Fn(TcpStream) -> Result<()>,
    kinds: &[(&str, &str, u64)],
) -> Result<()> {
    conversations_at_a_port(agent, serve, call, kinds).map(drop)
}

/// The same, and says which port they were at.
fn conversations_at_a_port(
    agent: &Agent<'_>,
    serve: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
    call: impl Fn(TcpStream) -> Result<()>,
    kinds: &[(&str, &str, u64)],
) -> Result<u16> {
    let mark = agent.mark()?;
    let server = Server::start(Ipv4Addr::LOCALHOST, serve)?;
    let port = server.port();
    for _ in 0..TIMES {
        call(probe_tests::stream::connect(server.address())?)?;
    }
    server.finish()?;
    counted(agent, &mark, port, kinds, TIMES)?;
    Ok(port)
}

/// Reads until the connection ends, be it by a reset.
fn read_out(mut stream: &TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Asks, and takes what comes.
fn ask_in_vain(mut stream: TcpStream) -> Result<()> {
    stream.write_all(GET)?;
    read_out(&stream);
    Ok(())
}

#[test]
fn a_server_that_breaks_off_fails_whatever_it_said_before() -> Result<()> {
    let agent = Agent::start()?;
    let cut_off = |answer: &'static [u8], linger: Option<Duration>, status| -> Result<()> {
        let serve = move |mut stream: TcpStream| {
            ensure!(asked(&stream)?, "nothing was asked");
            stream.write_all(answer)?;
            Ok(SockRef::from(&stream).set_linger(linger)?)
        };
        let mark = agent.mark()?;
        let port = conversations_at_a_port(&agent, serve, ask_in_vain, &[("GET", status, TIMES)])?;
        let cut = if status == "aborted" { 0 } else { TIMES };
        for role in Role::BOTH {
            let of = |name| Series::at(name, port, role).with("protocol", "http1");
            mark.rises_by_exactly(&[
                (of("traffic_request_outcomes_total").with("outcome", "failure"), TIMES),
                (of("traffic_responses_cut_short_total").with("by", "server"), cut),
            ])?;
        }
        Ok(())
    };
    // Within its content, within its head, before its first byte: by a farewell, and by a reset.
    for (answer, status) in [(CUT, "200"), (&CUT[..20], "200"), (b"", "aborted")] {
        for linger in [None, Some(Duration::ZERO)] {
            cut_off(answer, linger, status)?;
        }
    }
    Ok(())
}

/// As a pool of connections does, from either end.
#[test]
fn an_idle_connection_that_is_closed_is_no_request() -> Result<()> {
    let agent = Agent::start()?;
    let serve_once = |mut stream: TcpStream| {
        ensure!(asked(&stream)?, "nothing was asked");
        Ok(stream.write_all(OK)?)
    };
    let by_server = |stream: TcpStream| {
        ask(&stream, OK.len())?;
        read_out(&stream);
        Ok(())
    };
    conversations(&agent, serve_once, by_server, &[("GET", "200", TIMES)])?;
    let by_client = |stream: TcpStream| ask(&stream, OK.len());
    conversations(&agent, answer_all, by_client, &[("GET", "200", TIMES)])?;
    // Nor is one on which nothing was ever asked.
    conversations(&agent, answer_all, |stream| Ok(stream.shutdown(Shutdown::Both)?), &[])
}

#[test]
fn half_a_connection_still_carries_the_answer() -> Result<()> {
    let agent = Agent::start()?;
    let serve = |mut stream: TcpStream| {
        ensure!(asked(&stream)?, "nothing was asked");
        ensure!(!asked(&stream)?, "the client has not closed its half");
        Ok(stream.write_all(OK)?)
    };
    let call = |mut stream: TcpStream| {
        stream.write_all(GET)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(answer == OK, "another answer");
        Ok(())
    };
    conversations(&agent, serve, call, &[("GET", "200", TIMES)])
}

#[test]
fn an_answer_of_http_1_0_ends_with_its_connection() -> Result<()> {
    let agent = Agent::start()?;
    let serve = |mut stream: TcpStream| {
        ensure!(asked(&stream)?, "nothing was asked");
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n")?;
        for _ in 0..3 {
            stream.write_all(b"HTTP/1.0 500 is but content\r\n\r\n")?;
        }
        Ok(())
    };
    let call = |mut stream: TcpStream| {
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        ensure!(stream.read_to_end(&mut Vec::new())? > 100, "a short answer");
        Ok(())
    };
    conversations(&agent, serve, call, &[("GET", "200", TIMES)])
}

/// After the switch, what looks like requests and answers is neither.
fn switched(
    agent: &Agent<'_>,
    request: &'static [u8],
    answer: &'static [u8],
    kind: (&str, &str),
) -> Result<()> {
    const ROUNDS: usize = 20;
    let serve = move |mut stream: TcpStream| {
        ensure!(asked(&stream)?, "nothing was asked");
        stream.write_all(answer)?;
        for _ in 0..ROUNDS {
            stream.read_exact(&mut [0; GET.len()])?;
            stream.write_all(OK)?;
        }
        Ok(())
    };
    let call = |mut stream: TcpStream| {
        stream.set_nodelay(true)?;
        stream.write_all(request)?;
        stream.read_exact(&mut vec![0; answer.len()])?;
        (0..ROUNDS).try_for_each(|_| ask(&stream, OK.len()))
    };
    conversations(agent, serve, call, &[(kind.0, kind.1, TIMES)])
}

#[test]
fn an_upgrade_or_a_tunnel_is_one_request_whatever_follows() -> Result<()> {
    let agent = Agent::start()?;
    let upgrade = b"GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let agreed = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    switched(&agent, upgrade, agreed, ("GET", "101"))?;
    let tunnel = b"CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n";
    switched(&agent, tunnel, b"HTTP/1.1 200 Connection established\r\n\r\n", ("CONNECT", "200"))
}

/// A program with a connection in place of a terminal, as inetd starts one.
fn shell(script: &str, stream: TcpStream) -> Result<()> {
    let stream = OwnedFd::from(stream);
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(stream.try_clone()?).stdout(stream);
    ensure!(command.status().context("cannot start sh")?.success(), "the shell failed");
    Ok(())
}

/// Accepted by one process, served by another; made by one, used by another.
#[test]
fn a_connection_that_changes_hands_stays_with_its_service() -> Result<()> {
    const SERVE: &str = r#"end=$(printf '\r'); while read -r line; do
        if [ "$line" = "$end" ]; then printf 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'; fi; done"#;
    const ASK: &str =
        r"for i in 1 2 3; do printf 'GET / HTTP/1.1\r\nHost: test\r\n\r\n'; head -c 40 >/dev/null; done";
    ensure!(OK.len() == 40, "the script reads answers of another length");
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let server = Server::start(Ipv4Addr::LOCALHOST, |stream| shell(SERVE, stream))?;
    let port = server.port();
    for _ in 0..TIMES {
        shell(ASK, probe_tests::stream::connect(server.address())?)?;
    }
    server.finish()?;
    counted(&agent, &mark, port, &[("GET", "200", 3 * TIMES)], TIMES)?;
    let scrape = agent.scrape()?;
    for role in Role::BOTH {
        let services = scrape.values(&Series::requests(port, role), "service");
        ensure!(services.len() == 1 && services != ["sh"], "{role:?}: {services:?} instead of who opened it");
    }
    Ok(())
}

/// The states of a port's connections: `/proc/net/tcp`, whose local port is the second word's end.
fn states(netns: &Netns, port: u16) -> Result<Vec<String>> {
    let table = netns.inside(|| Ok(std::fs::read_to_string("/proc/thread-self/net/tcp")?))?;
    let of_port = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let port = format!(":{port:04X}");
        let connected = words.get(2)?.ends_with(&port) || words.get(1)?.ends_with(&port);
        words.get(3).filter(|_| connected).map(|&state| state.to_owned())
    };
    Ok(table.lines().filter_map(of_port).filter(|state| state != "0A").collect())
}

/// Both ends say farewell before they hear the other's: on a way that is long enough for that.
#[test]
fn a_connection_that_both_ends_close_at_once_closes_once() -> Result<()> {
    const FIN_WAIT_1: &str = "04";
    let (near, far) = (Netns::new()?, Netns::new()?);
    let conditions = Conditions { delay: Duration::from_millis(200), ..Conditions::default() };
    let _link = Link::lay(&near, &far, conditions, 1)?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let together: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
    let serve = move |mut stream: TcpStream| {
        ensure!(asked(&stream)?, "nothing was asked");
        stream.write_all(OK)?;
        together.wait();
        stream.shutdown(Shutdown::Both)?;
        together.wait();
        Ok(())
    };
    let server = far.inside(|| Server::start(Ipv4Addr::new(192, 0, 2, 2), serve))?;
    let port = server.port();
    let client = near.inside(|| Ok(probe_tests::stream::connect(server.address())?))?;
    ask(&client, OK.len())?;
    together.wait();
    client.shutdown(Shutdown::Both)?;
    together.wait();
    let both = [states(&near, port)?, states(&far, port)?].concat();
    ensure!(both == [FIN_WAIT_1, FIN_WAIT_1], "they did not close at once: {both:?}");
    drop(client);
    server.finish()?;
    counted(&agent, &mark, port, &[("GET", "200", 1)], 1)
}

/// A cable that is pulled out while the server thinks: either end finds out by itself.
#[test]
fn an_end_that_is_gone_without_a_farewell_has_left() -> Result<()> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let second = Duration::from_secs(1);
    let alive = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(1);
    let serve = {
        let alive = alive.clone();
        move |stream: TcpStream| {
            SockRef::from(&stream).set_tcp_keepalive(&alive)?;
            ensure!(asked(&stream)?, "nothing was asked");
            ensure!(asked(&stream).is_err(), "the client has ended the connection");
            Ok(())
        }
    };
    let server = far.inside(|| Server::start(Ipv4Addr::new(192, 0, 2, 2), serve))?;
    let port = server.port();
    let mut client = near.inside(|| Ok(probe_tests::stream::connect(server.address())?))?;
    SockRef::from(&client).set_tcp_keepalive(&alive)?;
    client.write_all(GET)?;
    // What is lost here would be sent again for minutes: the request must have come.
    let at_server = Series::at("traffic_bytes_total", port, Role::Server).with("direction", "receive");
    mark.rises_by_exactly(&[(at_server, GET.len() as u64)])?;
    near.ip(&["link", "set", "near0", "down"])?;
    ensure!(client.read(&mut [0]).is_err(), "the server has answered");
    server.finish()?;
    // Which end's kernel gave up, since the other one said nothing.
    let status = |role, status| (Series::requests(port, role).with("status", status), 1);
    mark.rises_by_exactly(&[
        status(Role::Server, "aborted"),
        status(Role::Client, "cancelled"),
        (Series::at("traffic_connections_closed_total", port, Role::Server), 1),
        (Series::at("traffic_connections_closed_total", port, Role::Client), 1),
    ])?;
    Ok(())
}
