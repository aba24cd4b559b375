//! A service driven across the thresholds of its class: it changes class once, soon, and does not flap.

mod alerts;

use std::{
    fs,
    io::{self, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    api, http1,
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    paced::{self, Pace, Requests},
    poll, process,
    server::Server,
    tool,
};

const WINDOW: Duration = Duration::from_secs(2);

/// How far apart looks at the metrics are: shorter than a tick.
const LOOK: Duration = Duration::from_millis(50);

const MEGABIT: u64 = 1_000_000 / 8;

/// A class, and whether it is flagged as rising.
type Class = (&'static str, bool);

fn watched() -> Result<Agent<'static>> {
    Setup::default().flags(&["--window", "2s"]).alone().start()
}

fn class(scrape: &Scrape, port: u16) -> Result<Option<Class>> {
    let of = |tier: &'static str| Series::named("traffic_tier").with("port", port).with("tier", tier);
    let tiers = ["low", "normal", "high"];
    let set: Vec<_> = tiers.into_iter().filter(|tier| scrape.sum(&of(tier)) > 0.0).collect();
    let rising = scrape.sum(&Series::named("traffic_tier_rising").with("port", port)) > 0.0;
    match set[..] {
        [] => Ok(None),
        [tier] => Ok(Some((tier, rising))),
        _ => bail!("several tiers at once: {set:?}"),
    }
}

/// The class by the metric, which must be that of the API at the same tick.
fn class_now(agent: &Agent<'_>, port: u16) -> Result<Option<Class>> {
    let (tiers, scrape) = api::with_metrics(agent, &format!("/api/v1/tiers?port={port}"))?;
    let class = class(&scrape, port)?;
    let tier = &tiers["tiers"][0]["tier"];
    let of_api = tier["class"].as_str().zip(tier["rising"].as_bool());
    ensure!(of_api == class, "the API says {of_api:?}, the metrics {class:?}");
    Ok(class)
}

/// Looks until the class is as expected, which it must be within two windows and a tick or two, with no other class
/// on the way; and for a window more, in which it must stay.
fn becomes(agent: &Agent<'_>, port: u16, from: Option<Class>, to: Class) -> Result<()> {
    let began = Instant::now();
    let mut arrived = None;
    loop {
        let now = class_now(agent, port)?;
        match arrived {
            None if now == Some(to) => {
                println!("{from:?} to {to:?} after {:?}", began.elapsed());
                arrived = Some(Instant::now());
            }
            None => ensure!(now == from, "{now:?} on the way from {from:?} to {to:?}"),
            Some(_) => ensure!(now == Some(to), "{now:?} after {to:?}"),
        }
        match arrived {
            Some(since) if since.elapsed() >= WINDOW => return Ok(()),
            None if began.elapsed() > 2 * WINDOW => {
                let load = Series::named("traffic_tier_load_ratio").with("port", port);
                bail!("still {now:?}, not {to:?}; load {:?}", agent.scrape()?.get(&load))
            }
            _ => thread::sleep(LOOK),
        }
    }
}

/// Drives a load through rates, and the class through what they are to bring.
fn follows(agent: &Agent<'_>, port: u16, pace: &Pace, unit: u64, steps: &[(u64, Class)]) -> Result<()> {
    let mut before = None;
    for &(rate, class) in steps {
        pace.set(rate * unit);
        becomes(agent, port, before, class)?;
        before = Some(class);
    }
    Ok(())
}

#[test]
fn the_rate_of_requests_changes_the_tier_once_at_each_threshold() -> Result<()> {
    let agent = watched()?;
    let nginx = Nginx::start()?;
    let pace = Pace::default();
    let load = Requests::start(nginx.ipv4(), "/ok", 4, &pace)?;
    let low = ("low", false);
    let steps =
        [(40, low), (200, ("normal", false)), (1_500, ("high", false)), (200, ("normal", false)), (40, low)];
    follows(&agent, nginx.port(), &pace, 1, &steps)?;
    load.finish()
}

/// Answers a request with zeros at a pace, until the client leaves.
fn streams(stream: &TcpStream, pace: &Pace) -> Result<()> {
    http1::head(&mut BufReader::new(stream))?;
    let mut writer = stream;
    writer.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    paced::write(stream, pace)
}

#[test]
fn the_bandwidth_of_one_request_changes_the_tier_once_at_each_threshold() -> Result<()> {
    let agent = watched()?;
    let pace = Pace::default();
    let serving = pace.clone();
    let server = Server::start(Ipv4Addr::LOCALHOST, move |stream| streams(&stream, &serving))?;
    let mut reader = probe_tests::stream::connect(server.address())?;
    reader.write_all(b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let reading = thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    let (low, normal) = (("low", false), ("normal", false));
    let steps = [(4, low), (40, normal), (250, ("normal", true)), (40, normal), (4, low)];
    let followed = follows(&agent, server.port(), &pace, MEGABIT, &steps);
    pace.end();
    server.finish()?;
    let read = reading.join().expect("the reader panicked")?;
    println!("{read} bytes read");
    followed
}

/// The rate goes to and fro around the threshold, slower than the window, so that the window sees both sides.
#[test]
fn a_rate_that_hovers_at_the_border_does_not_flap() -> Result<()> {
    const ROUNDS: u32 = 4;
    let agent = Setup::default().flags(&["--window", "1s"]).alone().start()?;
    let nginx = Nginx::start()?;
    let pace = Pace::default();
    let load = Requests::start(nginx.ipv4(), "/ok", 2, &pace)?;
    let rate = Series::at("traffic_requests_per_second", nginx.port(), Role::Server);
    let (mut changes, mut last, mut above, mut below) = (0, None, 0, 0);
    for _ in 0..ROUNDS {
        for around in [110, 90] {
            pace.set(around);
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1500) {
                let scrape = agent.scrape()?;
                let now = class(&scrape, nginx.port())?;
                // Before it is known it has no class; to have one then is no change.
                changes += u32::from(last.is_some() && now != last);
                match scrape.get(&rate) {
                    Some(rate) if rate > 103.0 => above += 1,
                    Some(rate) if rate < 97.0 => below += 1,
                    _ => {}
                }
                last = now.or(last);
                thread::sleep(LOOK);
            }
        }
    }
    load.finish()?;
    println!("{changes} changes; {above} looks at rates above the threshold, {below} below");
    ensure!(above >= 10 && below >= 10, "the rate did not hover: {above} looks above, {below} below");
    ensure!(changes == 1 && last == Some(("normal", false)), "{changes} changes, now {last:?}");
    Ok(())
}

#[test]
fn thresholds_are_a_services_own_by_the_file() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("probe.toml");
    let nginx = Nginx::start()?;
    let other = Nginx::start()?;
    let port = nginx.port();
    fs::write(
        &file,
        format!(
            "window = \"2s\"\n[[tiers.service]]\nmatch = \"nginx:{port}\"\nnormal.requests_per_second = 5\n"
        ),
    )?;
    let path = file.to_str().context("a path of text")?;
    let agent = Setup::default().flags(&["--config", path]).start()?;
    let pace = Pace::default();
    pace.set(40);
    let loads = [&nginx, &other].map(|server| Requests::start(server.ipv4(), "/ok", 1, &pace));
    let classes = |scrape: &Scrape| -> Result<_> { Ok([class(scrape, port)?, class(scrape, other.port())?]) };
    let rate = Series::at("traffic_requests_per_second", other.port(), Role::Server);
    poll::until("the rate of the other to be that of the load", || {
        Ok(agent.scrape()?.get(&rate).filter(|rate| *rate > 30.0))
    })?;
    let classes = poll::until_within(2 * WINDOW, "both to have a class, and one to be normal", || {
        let classes = classes(&agent.scrape()?)?;
        Ok((classes[0] == Some(("normal", false))).then_some(classes))
    })?;
    ensure!(classes[1] == Some(("low", false)), "the other has the thresholds of all: {classes:?}");
    loads.into_iter().try_for_each(|load| load?.finish())
}

#[test]
fn a_file_with_an_unknown_key_is_refused_with_the_nearest() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("probe.toml");
    fs::write(&file, "intervall = \"1s\"\n")?;
    let mut command = std::process::Command::new(tool::agent()?);
    let output = process::run(command.arg("run").arg("--config").arg(&file), Duration::from_secs(10))?;
    ensure!(output.status.code() == Some(2), "ended with {}", output.status);
    ensure!(
        output.stderr.trim_end().ends_with("unknown key `intervall`; did you mean `interval`?"),
        "{}",
        output.stderr
    );
    Ok(())
}
