//! However an application writes and reads, it has asked and answered the same: the same requests, the same bytes.

use std::{
    io::{self, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    http1,
    metrics::{Role, Series},
    server::Server,
    stream::Tally,
    ways::{Reader, Reading, Writer, Writing},
};

/// Each way to write, and to read at the other end; the plain ones first.
const WAYS: [(Writing, Reading); 8] = [
    (Writing::Write, Reading::Read),
    (Writing::SendMsg, Reading::Readv),
    (Writing::SendMmsg, Reading::RecvMmsg),
    (Writing::Sendfile, Reading::Read),
    (Writing::Splice, Reading::Readv),
    (Writing::ZeroCopy, Reading::RecvMmsg),
    (Writing::Ring, Reading::Ring),
    (Writing::RingZeroCopy, Reading::Ring),
];
/// Lengths of content; those of requests and of answers in a different order.
const LENGTHS: [usize; 7] = [0, 1, 100, 1_500, 9_000, 70_000, 300_000];
const CONNECTIONS: usize = 3;
const REQUESTS_EACH: usize = 42;
const REQUESTS: u64 = (CONNECTIONS * REQUESTS_EACH) as u64;

/// Writes a message: head and content by one call or by a call each.
fn write(writer: &mut impl Write, head: &str, length: usize, number: usize) -> Result<()> {
    let content = b"GET / HTTP/1.1\r\n".repeat(length / 16 + 1);
    let content = &content[..length];
    if number.is_multiple_of(2) {
        writer.write_all(&[head.as_bytes(), content].concat())?;
    } else {
        writer.write_all(head.as_bytes())?;
        writer.write_all(content)?;
    }
    Ok(())
}

fn serve(stream: &TcpStream, (writing, reading): (Writing, Reading), tally: &Tally) -> Result<()> {
    let mut reader = BufReader::new(tally.of(Reader::new(reading, stream)?));
    let mut writer = tally.of(Writer::new(writing, stream)?);
    let mut number = 0;
    while let Some(head) = http1::head(&mut reader)? {
        http1::content(&mut reader, head.framing, &mut io::sink())?;
        let length = head.second::<String>()?.trim_start_matches('/').parse()?;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        write(&mut writer, &answer, length, number)?;
        number += 1;
    }
    Ok(())
}

fn ask(server: SocketAddr, (writing, reading): (Writing, Reading), tally: &Tally) -> Result<()> {
    let stream = probe_tests::stream::connect(server)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(tally.of(Reader::new(reading, &stream)?));
    let mut writer = tally.of(Writer::new(writing, &stream)?);
    for number in 0..REQUESTS_EACH {
        let sent = LENGTHS[number % LENGTHS.len()];
        let wanted = LENGTHS[number * 3 % LENGTHS.len()];
        let request = format!("PUT /{wanted} HTTP/1.1\r\nHost: test\r\nContent-Length: {sent}\r\n\r\n");
        write(&mut writer, &request, sent, number)?;
        let head = http1::head(&mut reader)?.context("the server has gone")?;
        let got = http1::content(&mut reader, head.framing, &mut io::sink())?;
        ensure!(got == wanted as u64, "{got} bytes of content instead of {wanted}");
    }
    Ok(())
}

#[test]
fn every_way_to_write_and_to_read_has_the_counts_of_the_plain_one() -> Result<()> {
    let agent = Agent::start()?;
    let mut plain = None;
    for way in WAYS {
        let mark = agent.mark()?;
        let (client, at_server) = (Tally::default(), Arc::new(Tally::default()));
        let server = Server::start(Ipv4Addr::LOCALHOST, {
            let tally = Arc::clone(&at_server);
            move |stream| serve(&stream, way, &tally)
        })?;
        let port = server.port();
        (0..CONNECTIONS).try_for_each(|_| ask(server.address(), way, &client))?;
        server.finish()?;
        let bytes = [client.written(), client.read()];
        ensure!(bytes == [at_server.read(), at_server.written()], "{way:?}: bytes got lost");
        ensure!(*plain.get_or_insert(bytes) == bytes, "{way:?}: {bytes:?} bytes, plainly {plain:?}");
        let mut expected = Vec::new();
        for (role, ways) in [(Role::Client, ["transmit", "receive"]), (Role::Server, ["receive", "transmit"])]
        {
            let all = Series::requests(port, role);
            expected.push((all.clone(), REQUESTS));
            expected.push((all.with("method", "PUT").with("status", 200), REQUESTS));
            for (way, bytes) in ways.into_iter().zip(bytes) {
                expected.push((Series::at("traffic_bytes_total", port, role).with("direction", way), bytes));
            }
        }
        mark.rises_by_exactly(&expected).with_context(|| format!("{way:?}"))?;
        println!("{way:?}: {REQUESTS} requests, {bytes:?} bytes, on both ends");
    }
    Ok(())
}
