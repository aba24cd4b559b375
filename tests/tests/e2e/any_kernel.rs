//! What the agent owes under every kernel that it runs under: bytes, connections and users to the last one; and requests, or a
//! sentence that says why there are none. The ring `kernels` runs this under kernels that cannot count requests, too.

use std::{
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    expect::gauges_are,
    http1,
    metrics::{Role, Series},
    server::Server,
    stream,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CONNECTIONS: u64 = 4;
const REQUESTS_EACH: u64 = 5;

/// What the agent logs where requests are not counted.
const NO_REQUESTS: &str = "bpf_loop";

fn serve(mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while http1::head(&mut reader)?.is_some() {
        stream.write_all(OK)?;
    }
    Ok(())
}

#[test]
fn bytes_connections_and_users_are_exact_and_requests_too_or_it_is_told_why_not() -> Result<()> {
    let agent = Agent::start()?;
    let server = Server::start(Ipv4Addr::LOCALHOST, serve)?;
    let port = server.port();
    let mark = agent.mark()?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = stream::connect(server.address())?;
        let mut reader = BufReader::new(connection.try_clone()?);
        for _ in 0..REQUESTS_EACH {
            (&connection).write_all(GET)?;
            let head = http1::head(&mut reader)?.context("the server closed without an answer")?;
            http1::content(&mut reader, head.framing, &mut std::io::sink())?;
        }
        connections.push(connection);
    }
    let users = Series::named("traffic_concurrent_users").with("port", port);
    let open = |role| (Series::at("traffic_connections_open", port, role), CONNECTIONS);
    gauges_are(&agent, &[vec![(users, 1)], Role::BOTH.map(open).to_vec()].concat())?;
    drop(connections);
    let all = CONNECTIONS * REQUESTS_EACH;
    let lengths = [all * GET.len() as u64, all * OK.len() as u64];
    let mut expected = Vec::new();
    for (role, ways) in [(Role::Client, ["transmit", "receive"]), (Role::Server, ["receive", "transmit"])] {
        for (way, length) in ways.into_iter().zip(lengths) {
            expected.push((Series::at("traffic_bytes_total", port, role).with("direction", way), length));
        }
        expected.push((Series::at("traffic_connections_opened_total", port, role), CONNECTIONS));
        expected.push((Series::at("traffic_connections_closed_total", port, role), CONNECTIONS));
    }
    let scrape = mark.rises_by_exactly(&expected)?;
    let told = agent.log()?.contains(NO_REQUESTS);
    println!("requests {} counted under this kernel", if told { "are not" } else { "are" });
    for role in Role::BOTH {
        let requests = Series::requests(port, role);
        if told {
            ensure!(
                scrape.get(&requests).is_none(),
                "it says that it counts no requests, and has {requests}"
            );
        } else {
            mark.rises_by_exactly(&[(requests, all)])?;
        }
    }
    server.finish()
}
