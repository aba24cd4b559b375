//! Content that looks like requests and answers, of every size, in segments that begin with what looks like a head.

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
    netns::Netns,
    server::Server,
    stream::Tally,
    ways::{Writer, Writing},
};

/// Heads that are none: in turn at the start of a write, so of a segment.
const FAKES: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: fake\r\n\r\n",
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    b"POST /fake HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];
/// From 1 B to 64 MiB; around the length of a fake, of a segment on loopback, and of a buffer.
const SIZES: [usize; 14] =
    [1, 2, 15, 29, 30, 31, 100, 1_000, 4_096, 65_483, 65_536, 1 << 20, 8 << 20, 64 << 20];
/// What is longer is written in larger pieces.
const SMALL: usize = 1 << 20;
const LARGE_PIECE: usize = 60_000;

/// How a message says where its content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Sized,
    Chunked,
}

const FRAMINGS: [Framing; 2] = [Framing::Sized, Framing::Chunked];

/// Writes a message, each piece of its content by a write of its own.
fn write(writer: &mut impl Write, start: &str, size: usize, framing: Framing) -> Result<()> {
    let field = match framing {
        Framing::Sized => format!("Content-Length: {size}"),
        Framing::Chunked => "Transfer-Encoding: chunked".to_owned(),
    };
    writer.write_all(format!("{start}\r\n{field}\r\n\r\n").as_bytes())?;
    let repeats = if size <= SMALL { 1 } else { LARGE_PIECE / FAKES[0].len() };
    let pieces = FAKES.map(|fake| fake.repeat(repeats));
    let mut left = size;
    for piece in pieces.iter().cycle() {
        let piece = &piece[..piece.len().min(left)];
        left -= piece.len();
        if framing == Framing::Chunked && !piece.is_empty() {
            writer.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            writer.write_all(piece)?;
            writer.write_all(b"\r\n")?;
        } else {
            writer.write_all(piece)?;
        }
        if left == 0 {
            break;
        }
    }
    if framing == Framing::Chunked {
        writer.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}

/// Answers what is asked for by the target: `/SIZE` and the framing of the request.
fn serve(stream: &TcpStream, tally: &Tally) -> Result<()> {
    let mut reader = BufReader::with_capacity(64 << 10, tally.of(stream));
    let mut writer = tally.of(Writer::new(Writing::Segment, stream)?);
    while let Some(head) = http1::head(&mut reader)? {
        http1::content(&mut reader, head.framing, &mut io::sink())?;
        let target: String = head.second()?;
        let size = target.trim_start_matches('/').parse()?;
        let chunked = head.framing == http1::Framing::Chunks;
        let framing = if chunked { Framing::Chunked } else { Framing::Sized };
        write(&mut writer, "HTTP/1.1 201 Created", size, framing)?;
    }
    Ok(())
}

/// Every size, one after the other on a connection, and as large an answer.
fn ask(server: SocketAddr, framing: Framing, tally: &Tally) -> Result<()> {
    let stream = probe_tests::stream::connect(server)?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, tally.of(&stream));
    let mut writer = tally.of(Writer::new(Writing::Segment, &stream)?);
    for size in SIZES {
        write(&mut writer, &format!("PATCH /{size} HTTP/1.1\r\nHost: test"), size, framing)?;
        let head = http1::head(&mut reader)?.context("the server has gone")?;
        let got = http1::content(&mut reader, head.framing, &mut io::sink())?;
        ensure!(got == size as u64, "{got} bytes of content instead of {size}");
    }
    Ok(())
}

#[test]
fn content_full_of_heads_has_no_requests() -> Result<()> {
    let agent = Agent::start()?;
    let netns = Netns::new()?;
    for framing in FRAMINGS {
        let segments_before = netns.tcp_counter("TCPOrigDataSent")?;
        let mark = agent.mark()?;
        let (client, at_server) = (Tally::default(), Arc::new(Tally::default()));
        let tally = Arc::clone(&at_server);
        let server =
            netns.inside(|| Server::start(Ipv4Addr::LOCALHOST, move |stream| serve(&stream, &tally)))?;
        let port = server.port();
        netns.inside(|| ask(server.address(), framing, &client))?;
        server.finish()?;
        let [written, read] = [client.written(), client.read()];
        ensure!([at_server.read(), at_server.written()] == [written, read], "bytes got lost");
        let requests = SIZES.len() as u64;
        let mut expected = Vec::new();
        for (role, ways) in [(Role::Client, [written, read]), (Role::Server, [read, written])] {
            let all = Series::requests(port, role);
            expected.push((all.clone(), requests));
            expected.push((all.with("method", "PATCH").with("status", 201), requests));
            for (way, bytes) in ["transmit", "receive"].into_iter().zip(ways) {
                expected.push((Series::at("traffic_bytes_total", port, role).with("direction", way), bytes));
            }
        }
        mark.rises_by_exactly(&expected).with_context(|| format!("{framing:?}"))?;
        let writes = client.writes() + at_server.writes();
        let segments = netns.tcp_counter("TCPOrigDataSent")? - segments_before;
        ensure!(segments >= writes, "{writes} writes went in {segments} segments");
        println!("{framing:?}: {writes} writes in {segments} segments");
        println!(
            "{framing:?}: {requests} requests of 1 B to 64 MiB, {written} bytes one way, {read} the other"
        );
    }
    Ok(())
}
