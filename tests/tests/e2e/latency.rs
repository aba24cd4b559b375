//! How long requests take, against the client's own clock. These tests have the machine alone.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::within,
    machine,
    metrics::{Role, Scrape, Series},
    nginx::{DOWNLOAD, Nginx},
    summary,
};

const CLIENTS: u32 = 4;
const REQUESTS_EACH: u32 = 75;
/// Between the starts of two clients: their answers do not come at the same moment, so that where the machine halts for
/// one, the others' clocks are not stopped late as well, and P99 is not made of a single halt.
const STAGGER: Duration = Duration::from_micros(12_500);

/// Alone, with a window that holds every request of a test.
pub(super) fn agent() -> Result<Agent<'static>> {
    Setup::default().alone().flags(&["--window", "60s"]).start()
}

/// What clients measure who ask one after the other, each by itself.
pub(super) fn ask(nginx: &Nginx, path: &str) -> Result<Vec<Duration>> {
    let request = Request::new("GET", path);
    let ask = |client| {
        machine::wake_first()?;
        thread::sleep(STAGGER * client);
        let mut client = Client::connect(nginx.ipv4())?;
        (0..REQUESTS_EACH).map(|_| Ok(client.exchange(&request)?.duration)).collect::<Result<Vec<_>>>()
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || ask(client))).collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().expect("a client panicked")?);
        }
        Ok(all)
    })
}

fn quantiles_are_right(path: &str) -> Result<()> {
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let measured = ask(&nginx, path)?;
    let counts =
        Role::BOTH.map(|role| (Series::requests(nginx.port(), role), u64::from(CLIENTS * REQUESTS_EACH)));
    let scrape = mark.rises_by_exactly(&counts)?;
    for role in Role::BOTH {
        let latency = Series::at("traffic_request_latency_seconds", nginx.port(), role);
        for (quantile, fraction) in [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)] {
            let what = format!("{path}, {role:?}, quantile {quantile}");
            let figure = scrape.sum(&latency.clone().with("quantile", quantile));
            within(0.05, &what, figure, summary::quantile(&measured, fraction))?;
        }
        let figure = scrape.sum(&latency.with("quantile", "avg"));
        within(0.05, &format!("{path}, {role:?}, average"), figure, summary::average(&measured))?;
    }
    Ok(())
}

#[test]
fn quantiles_of_an_endpoint_that_takes_50_ms_are_right() -> Result<()> {
    quantiles_are_right("/after-50ms")
}

/// Just above the lower edge of a bucket (48.2 ms), where the one above was at its upper half.
#[test]
fn quantiles_hold_wherever_in_a_bucket_the_latency_lies() -> Result<()> {
    quantiles_are_right("/after-48ms")
}

/// The middle of its bucket, 52.2 ms, would be more than it took.
#[test]
fn quantiles_of_a_single_request_are_its_duration() -> Result<()> {
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    Client::connect(nginx.ipv4())?.exchange(&Request::new("GET", "/after-50ms"))?;
    let scrape = mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 1)))?;
    for role in Role::BOTH {
        let latency = Series::at("traffic_request_latency_seconds", nginx.port(), role);
        let [average, quantiles @ ..] =
            ["avg", "0.5", "0.95", "0.99"].map(|label| scrape.sum(&latency.clone().with("quantile", label)));
        ensure!(average > 0.049, "{role:?}: the average is {average} s");
        for quantile in quantiles {
            within(1e-9, &format!("{role:?}, a quantile"), quantile, average)?;
        }
    }
    Ok(())
}

/// The mean of the durations that a histogram took since the mark, of which there must be one.
fn seconds(scrape: &Scrape, name: [&'static str; 2], port: u16, role: Role) -> Result<f64> {
    let [sum, count] = name.map(|name| scrape.sum(&Series::at(name, port, role)));
    ensure!((count - 1.0).abs() < f64::EPSILON, "{count} requests instead of one");
    Ok(sum)
}

/// A probe that times only the first byte calls this download instant.
///
/// The bound of 5 % has room for what buffers hide: when the server's socket sends the last byte, up to a receive
/// buffer (128 KiB asked for, which the kernel doubles: 8 ms at this rate, 0.4 %) and the client's own 64 KiB are unread.
#[test]
fn a_slow_download_has_an_early_first_byte_and_a_late_last_one() -> Result<()> {
    const RATE: u32 = 32 << 20;
    const BUFFER: usize = 128 << 10;
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let request = Request::new("GET", "/download");
    let answer = Client::connect_with_buffer(BUFFER, nginx.ipv4())?.exchange_slowly(&request, RATE)?;
    ensure!(answer.body.len() as u64 == DOWNLOAD, "the download is short");
    let scrape = mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 1)))?;
    let truth = answer.duration.as_secs_f64();
    within(0.05, "the client's own rate, in seconds", truth, 2.0)?;
    for role in Role::BOTH {
        const FIRST: [&str; 2] =
            ["traffic_time_to_first_byte_seconds_sum", "traffic_time_to_first_byte_seconds_count"];
        const LAST: [&str; 2] =
            ["traffic_request_duration_seconds_sum", "traffic_request_duration_seconds_count"];
        let first = seconds(&scrape, FIRST, nginx.port(), role)?;
        println!("{role:?}: first byte after {first} s, the client says {:?}", answer.first_byte);
        ensure!(first < 0.05, "{role:?}: the first byte after {first} s");
        let last = seconds(&scrape, LAST, nginx.port(), role)?;
        within(0.05, &format!("{role:?}, duration of the download"), last, truth)?;
    }
    Ok(())
}
