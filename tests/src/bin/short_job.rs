//! A process that does what it is for within a moment, by threads that have names of their own, as Java's and Python's pools give
//! them: `short_job ADDRESS DATAGRAMS`. Five threads ask the HTTP server at the first address ten times each, on a connection of
//! their own, and each sends a datagram to the second.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

const THREADS: usize = 5;
const REQUESTS: usize = 10;
const LIMIT: Duration = Duration::from_secs(10);

fn work(server: SocketAddr, datagrams: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    for _ in 0..REQUESTS {
        stream.write_all(b"GET /ok HTTP/1.1\r\nHost: test\r\n\r\n")?;
        let mut answer = Vec::new();
        // The answer to this path is `ok` and a newline, behind its head.
        while !answer.ends_with(b"ok\n") {
            let mut piece = [0; 512];
            let read = stream.read(&mut piece)?;
            ensure!(read > 0, "the server left: {}", answer.escape_ascii());
            answer.extend_from_slice(&piece[..read]);
        }
    }
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", datagrams)?;
    Ok(())
}

fn main() -> Result<()> {
    let mut addresses = env::args().skip(1).map(|address| address.parse().context("an address"));
    let mut next = || addresses.next().context("short_job ADDRESS DATAGRAMS")?;
    let (server, datagrams) = (next()?, next()?);
    let threads: Vec<_> = (1..=THREADS)
        .map(|number| {
            let named = thread::Builder::new().name(format!("pool-1-thread-{number}"));
            named.spawn(move || work(server, datagrams))
        })
        .collect::<Result<_, _>>()?;
    threads.into_iter().try_for_each(|thread| thread.join().expect("a thread panicked"))
}
