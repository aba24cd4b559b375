//! The same crossings as the shipped alerts tell of them, in a real Prometheus.

use std::{
    io::{self, Write as _},
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    nginx::Nginx,
    paced::{Pace, Requests},
    poll,
    prometheus::{self, Prometheus},
    server::Server,
};

use super::{MEGABIT, WINDOW, streams, watched};

/// How often Prometheus scrapes and evaluates: as often as the agent collects.
const OFTEN: &str = "200ms";

/// An alert that is there again after so long has been away meanwhile, and not just late by a scrape.
const GAP: f64 = 1.0;

fn fires(prometheus: &Prometheus, alert: &str, port: u16) -> Result<bool> {
    let port = port.to_string();
    Ok(prometheus.firing(alert)?.iter().any(|one| one["labels"]["port"] == port.as_str()))
}

/// How often an alert began to fire, by what Prometheus itself has kept of it.
fn spells(prometheus: &Prometheus, alert: &str, port: u16) -> Result<usize> {
    let history = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",port=\"{port}\"}}[10m]");
    let mut times = Vec::new();
    for series in prometheus.query(&history)? {
        for pair in series["values"].as_array().context("values")? {
            times.push(pair[0].as_f64().context("a time")?);
        }
    }
    times.sort_by(f64::total_cmp);
    let gaps = times.windows(2).filter(|pair| pair[1] - pair[0] > GAP).count();
    Ok(if times.is_empty() { 0 } else { 1 + gaps })
}

/// Sets rates one after the other, each of which is to raise its alert within two windows; none of the alerts fires before its
/// time, nor twice.
fn crosses(
    prometheus: &Prometheus,
    port: u16,
    pace: &Pace,
    unit: u64,
    steps: [(u64, &str); 2],
) -> Result<()> {
    for (rate, alert) in steps {
        ensure!(!fires(prometheus, alert, port)?, "{alert} fires before its time");
        pace.set(rate * unit);
        let began = Instant::now();
        poll::until_within(2 * WINDOW, &format!("{alert} at {rate}"), || {
            Ok(fires(prometheus, alert, port)?.then_some(()))
        })?;
        println!("{alert} at {rate} after {:?}", began.elapsed());
        // The load stays: nothing may change any more.
        thread::sleep(WINDOW);
        ensure!(fires(prometheus, alert, port)?, "{alert} has ended at {rate}");
    }
    for (_, alert) in steps {
        ensure!(
            spells(prometheus, alert, port)? == 1,
            "{alert} fired {} times",
            spells(prometheus, alert, port)?
        );
    }
    Ok(())
}

/// Waits until the tier is known to Prometheus, and low.
fn is_low(prometheus: &Prometheus, port: u16) -> Result<()> {
    let low = format!("traffic_tier{{port=\"{port}\",tier=\"low\"}} == 1");
    poll::until("a low tier", || prometheus.value(&low)).map(drop)
}

#[test]
fn the_rate_of_requests_raises_each_alert_once() -> Result<()> {
    let agent = watched()?;
    let nginx = Nginx::start()?;
    let prometheus = prometheus::Setup::of(&agent).every(OFTEN).start()?;
    let pace = Pace::default();
    pace.set(40);
    let load = Requests::start(nginx.ipv4(), "/ok", 4, &pace)?;
    is_low(&prometheus, nginx.port())?;
    let steps = [(200, "TrafficTierNormal"), (1_500, "TrafficTierHigh")];
    crosses(&prometheus, nginx.port(), &pace, 1, steps)?;
    // And the end: high is left, once.
    pace.set(200);
    poll::until_within(2 * WINDOW + Duration::from_secs(2), "the end of TrafficTierHigh", || {
        Ok((!fires(&prometheus, "TrafficTierHigh", nginx.port())?).then_some(()))
    })?;
    thread::sleep(WINDOW);
    ensure!(spells(&prometheus, "TrafficTierHigh", nginx.port())? == 1);
    load.finish()
}

#[test]
fn the_bandwidth_of_one_request_raises_each_alert_once() -> Result<()> {
    let agent = watched()?;
    let prometheus = prometheus::Setup::of(&agent).every(OFTEN).start()?;
    let pace = Pace::default();
    pace.set(4 * MEGABIT);
    let serving = pace.clone();
    let server = Server::start(Ipv4Addr::LOCALHOST, move |stream| streams(&stream, &serving))?;
    let mut reader = probe_tests::stream::connect(server.address())?;
    reader.write_all(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let reading = thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    let steps = [(40, "TrafficTierNormal"), (250, "TrafficTierRising")];
    let crossed = is_low(&prometheus, server.port())
        .and_then(|()| crosses(&prometheus, server.port(), &pace, MEGABIT, steps));
    pace.end();
    server.finish()?;
    reading.join().expect("the reader panicked")?;
    crossed
}

#[test]
fn a_rate_that_hovers_raises_one_alert() -> Result<()> {
    const ROUNDS: u32 = 3;
    let agent = super::Setup::default().flags(&["--window", "1s"]).alone().start()?;
    let nginx = Nginx::start()?;
    let prometheus = prometheus::Setup::of(&agent).every(OFTEN).start()?;
    let pace = Pace::default();
    pace.set(40);
    let load = Requests::start(nginx.ipv4(), "/ok", 2, &pace)?;
    is_low(&prometheus, nginx.port())?;
    for _ in 0..ROUNDS {
        for around in [115, 88] {
            pace.set(around);
            thread::sleep(Duration::from_millis(2_500));
        }
    }
    load.finish()?;
    let port = nginx.port();
    let rate = format!("traffic_requests_per_second{{port=\"{port}\",role=\"server\"}}");
    for (way, above) in [("above", "> 103"), ("below", "< 97")] {
        let looks = format!("count_over_time(({rate} {above})[15s:200ms])");
        let looks = prometheus.value(&looks)?.unwrap_or_default();
        ensure!(looks >= 10.0, "the rate did not hover: {looks} looks {way} the threshold");
    }
    let spells = spells(&prometheus, "TrafficTierNormal", port)?;
    ensure!(spells == 1, "{spells} alerts for a rate that hovers");
    Ok(())
}
