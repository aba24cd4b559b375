//! What is not to the letter, and is said in the wild all the same: the agent counts it as the two ends understand it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    expect::Mark,
    metrics::{Role, Series},
    nginx::Nginx,
    server::Server,
    stream,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

/// One end of a conversation: writes what it says, and waits for what it is told.
fn play(mut stream: &TcpStream, me: End, script: &[(End, String)]) -> Result<()> {
    for (end, text) in script {
        if *end == me {
            stream.write_all(text.as_bytes())?;
        } else {
            let mut heard = vec![0; text.len()];
            stream.read_exact(&mut heard).with_context(|| format!("{me:?} waits for {text:?}"))?;
        }
    }
    Ok(())
}

/// Lets two real ends have a conversation, and holds both roles to the requests that it has, by method and status.
fn converse(mark: &Mark<'_>, script: &[(End, String)], expected: &[(&str, u16, u64)]) -> Result<()> {
    let at_server = script.to_vec();
    let server = Server::start(Ipv4Addr::LOCALHOST, move |stream| play(&stream, End::Server, &at_server))?;
    let stream = stream::connect(server.address())?;
    stream.set_nodelay(true)?;
    play(&stream, End::Client, script)?;
    drop(stream);
    let port = server.port();
    server.finish()?;
    let mut rises = Vec::new();
    for role in Role::BOTH {
        let all = Series::requests(port, role);
        rises.push((all.clone(), expected.iter().map(|(.., count)| count).sum()));
        for (method, status, count) in expected {
            rises.push((all.clone().with("method", method).with("status", status), *count));
        }
    }
    mark.rises_by_exactly(&rises).with_context(|| format!("{script:?}"))?;
    Ok(())
}

fn client(text: impl Into<String>) -> (End, String) {
    (End::Client, text.into())
}

fn server(text: impl Into<String>) -> (End, String) {
    (End::Server, text.into())
}

#[test]
fn lengths_may_be_padded() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    for blanks in ["        ", "\t\t \t", &" ".repeat(100)] {
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length:{blanks}40{blanks}\r\n\r\n{}", "b".repeat(40));
        let (first, rest) = answer.split_at(17 + 15 + blanks.len() / 2);
        let script =
            vec![client(GET), server(&answer), client(GET), server(first), server(rest), client(GET)];
        let script = [script, vec![server(OK)]].concat();
        converse(&mark, &script, &[("GET", 200, 3)])?;
    }
    Ok(())
}

/// A version with a tail, and pipelines deeper than the engine keeps times of.
#[test]
fn pipelines_of_any_depth_are_counted() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let mut script = vec![client("GET / HTTP/1.0.8\r\n\r\n"), server(OK)];
    // The server hears all before it says a word.
    script.extend((0..5).map(|_| client(GET.repeat(64))));
    script.push(server(OK.repeat(320)));
    converse(&mark, &script, &[("GET", 200, 321)])?;
    let mut script: Vec<_> = (0..100).map(|_| client(GET)).collect();
    script.push(server(OK.repeat(100)));
    converse(&mark, &script, &[("GET", 200, 100)])
}

/// What a server says unasked is told, and the requests around it are counted.
#[test]
fn answers_that_nobody_asked_for_are_told() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    converse(&mark, &[server(missing), client(GET), server(OK)], &[("GET", 200, 1)])?;
    let farewell = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
    converse(&mark, &[client(post), server(OK), server(farewell)], &[("POST", 200, 1)])?;
    let told = Series::named("traffic_probe_unmeasured_total").with("reason", "unsolicited_response");
    let rise = mark.rise(&agent.collected()?, &told);
    ensure!(rise >= 4.0, "two answers at both ends were told {rise} times");
    Ok(())
}

#[test]
fn a_request_behind_a_refused_content_is_counted() -> Result<()> {
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    let put = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 300\r\n\r\n";
    let refused = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    let script = vec![client(put), server(refused), client(GET), server(OK)];
    converse(&mark, &script, &[("PUT", 417, 1), ("GET", 200, 1)])
}

/// Whatever nginx makes a request of, by its log: odd methods, and lines that it refuses.
#[test]
fn odd_requests_are_counted_as_nginx_counts_them() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let methods = ["get", "patch", "REPORT1", "A-METHOD-OF-MORE-THAN-TWENTY-FOUR-LETTERS", "!#$%&'*+-.^_`|~"];
    let mut requests: Vec<_> = methods
        .iter()
        .map(|method| format!("{method} /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
        .collect();
    for line in ["GET /ok HTTX/1.1", "GET /ok HTTP/1.1 and more", "\u{1}\u{2}\u{3}", "GET"] {
        requests.push(format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n"));
    }
    for request in &requests {
        let mut stream = stream::connect(nginx.ipv4())?;
        stream.write_all(request.as_bytes())?;
        // It may reset a connection of which it has not read all.
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => return Err(error.into()),
            _ => {}
        }
        ensure!(
            answer.starts_with(b"HTTP/1.1 "),
            "to {request:?} nginx says {:?}",
            answer.escape_ascii().to_string()
        );
    }
    let mut rises = Vec::new();
    let logged = nginx.answered(requests.len())?;
    for role in Role::BOTH {
        let all = Series::requests(nginx.port(), role);
        rises.push((all.clone(), requests.len() as u64));
        for status in logged.keys().map(|(_, status)| status) {
            let count = logged.iter().filter(|((_, other), _)| other == status).map(|(_, count)| count).sum();
            rises.push((all.clone().with("status", status), count));
        }
    }
    println!("nginx logged {logged:?}");
    mark.rises_by_exactly(&rises)?;
    Ok(())
}
