//! Where the time of a request went, against the clocks of a server and a client that take their time where the test says.
//! These tests have the machine alone.

use std::{
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::{Mark, within},
    http1, machine,
    metrics::{Role, Scrape, Series},
    nginx::{DOWNLOAD, Nginx},
    server::Server,
};

const REQUESTS: u64 = 10;
const WAIT: Duration = Duration::from_millis(100);
const PHASES: [&str; 3] = ["queue", "service", "delivery"];
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn agent() -> Result<Agent<'static>> {
    Setup::default().alone().start()
}

/// The sum of the durations of a phase since the mark, in seconds.
fn seconds(mark: &Mark<'_>, scrape: &Scrape, port: u16, phase: &str) -> f64 {
    let sum = Series::at("traffic_request_phase_seconds_sum", port, Role::Server);
    mark.rise(scrape, &sum.with("phase", phase))
}

/// Each phase has been counted for each request.
fn each_is_counted(mark: &Mark<'_>, port: u16, requests: u64) -> Result<Scrape> {
    let counts = PHASES.map(|phase| {
        let count = Series::at("traffic_request_phase_seconds_count", port, Role::Server);
        (count.with("phase", phase), requests)
    });
    mark.rises_by_exactly(&counts)
}

/// Queue and service are what lies before the first byte, to the nanosecond.
fn they_add_up(mark: &Mark<'_>, scrape: &Scrape, port: u16) -> Result<()> {
    let sum = Series::at("traffic_time_to_first_byte_seconds_sum", port, Role::Server);
    let first_byte = mark.rise(scrape, &sum);
    let parts = seconds(mark, scrape, port, "queue") + seconds(mark, scrape, port, "service");
    ensure!(
        (parts - first_byte).abs() < 1e-8,
        "queue and service are {parts} s, the first byte {first_byte} s"
    );
    Ok(())
}

/// The time is in one phase, and the others have next to nothing of it.
fn it_is_all_in(mark: &Mark<'_>, scrape: &Scrape, port: u16, phase: &str, truth: f64) -> Result<()> {
    for other in PHASES {
        let figure = seconds(mark, scrape, port, other);
        if other == phase {
            within(0.05, &format!("{phase}, in seconds"), figure, truth)?;
        } else {
            println!("{other}: {figure} s");
            ensure!(figure < 0.05 * truth, "{other} has {figure} s, where {phase} should have all {truth} s");
        }
    }
    they_add_up(mark, scrape, port)
}

/// Waits until there is something to read, without reading it.
fn readable(stream: &TcpStream) -> Result<()> {
    use std::os::fd::AsFd;
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::from(20_000_u16))?;
    Ok(())
}

/// What a server does with a request at the moments that it tells.
#[derive(Clone, Copy)]
enum Waits {
    BeforeReading,
    BeforeAnswering,
}

/// Serves the requests of a connection, and tells how long it made each wait.
fn serve(stream: &TcpStream, waits: Waits, told: &mpsc::Sender<Instant>) -> Result<()> {
    machine::wake_first()?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    loop {
        readable(stream)?;
        if matches!(waits, Waits::BeforeReading) {
            thread::sleep(WAIT);
            // At the end of the connection nobody listens any more.
            let _ = told.send(Instant::now());
        }
        if http1::head(&mut reader)?.is_none() {
            return Ok(());
        }
        if matches!(waits, Waits::BeforeAnswering) {
            thread::sleep(WAIT);
            told.send(Instant::now())?;
        }
        writer.write_all(OK)?;
    }
}

/// Asks a server that waits, and finds the time in its phase.
fn a_wait_is_in(waits: Waits, phase: &str) -> Result<()> {
    let agent = agent()?;
    let mark = agent.mark()?;
    let (tell, told) = mpsc::channel();
    let server = Server::start(Ipv4Addr::LOCALHOST, move |stream| serve(&stream, waits, &tell))?;
    let address = server.address();
    let asking = thread::spawn(move || {
        machine::wake_first()?;
        let mut client = Client::connect(address)?;
        let mut truth = Duration::ZERO;
        for _ in 0..REQUESTS {
            let sent = Instant::now();
            client.exchange(&Request::new("GET", "/"))?;
            let until = told.recv_timeout(WAIT * 20).context("the server did not tell when it waited")?;
            truth += until - sent;
        }
        anyhow::Ok(truth.as_secs_f64())
    });
    let truth = asking.join().expect("the client panicked")?;
    let scrape = each_is_counted(&mark, server.port(), REQUESTS)?;
    it_is_all_in(&mark, &scrape, server.port(), phase, truth)
}

#[test]
fn a_server_that_waits_before_it_reads_has_a_queue() -> Result<()> {
    a_wait_is_in(Waits::BeforeReading, "queue")
}

#[test]
fn a_server_that_waits_before_it_answers_has_service() -> Result<()> {
    a_wait_is_in(Waits::BeforeAnswering, "service")
}

/// 64 MiB at 32 MiB a second. What buffers hide: when the last byte is acknowledged, up to a receive buffer (128 KiB asked
/// for, which the kernel doubles) and the client's own 64 KiB are unread, 0.5 % of the download.
#[test]
fn a_client_that_reads_slowly_has_delivery() -> Result<()> {
    const RATE: u32 = 32 << 20;
    const BUFFER: usize = 128 << 10;
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let request = Request::new("GET", "/download");
    let answer = Client::connect_with_buffer(BUFFER, nginx.ipv4())?.exchange_slowly(&request, RATE)?;
    ensure!(answer.body.len() as u64 == DOWNLOAD, "the download is short");
    let scrape = each_is_counted(&mark, nginx.port(), 1)?;
    let truth = answer.duration.as_secs_f64() - answer.first_byte.as_secs_f64();
    it_is_all_in(&mark, &scrape, nginx.port(), "delivery", truth)
}

/// Where many requests share a segment, each has each phase all the same.
#[test]
fn pipelined_requests_have_phases_too() -> Result<()> {
    const DEPTH: u64 = 16;
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let mut client = Client::connect(nginx.ipv4())?;
    client.exchange_pipelined(&Request::new("GET", "/ok"), DEPTH)?;
    let scrape = each_is_counted(&mark, nginx.port(), DEPTH)?;
    they_add_up(&mark, &scrape, nginx.port())
}
