//! Kinds of requests that nobody makes any more leave while their service goes on: their places are given back, and nothing
//! of what is counted is lost. These tests have the machine alone, since time is what they are about.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use aya::maps::{Array, HashMap, PerCpuHashMap};
use nix::sys::signal::Signal;
use probe_common::{
    exchange::{LatencyCell, LatencyKey, Span},
    order::{Action, Order, STRAIGHT},
};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::gauges_are,
    http1,
    metrics::{Role, Scrape, Series},
    nginx::Nginx,
    pins::PinDirectory,
    poll,
    server::Server,
};

use crate::{
    expiry::{indices, map},
    survival::steady::Steady,
};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "OPTIONS"];

/// Neither numbers nor hexadecimal: each is a route.
fn routes(number: u8) -> impl Iterator<Item = String> {
    (0..number).map(|letter| format!("/page-{}", char::from(b'g' + letter)))
}

/// Asks once for every method and route, on one connection: how often in all.
fn ask_for_each(nginx: &Nginx, number: u8) -> Result<u64> {
    let mut client = Client::connect(nginx.ipv4())?;
    let mut asked = 0;
    for route in routes(number) {
        for method in METHODS {
            client.exchange(&Request::new(method, &route))?;
            asked += 1;
        }
    }
    Ok(asked)
}

/// The requests of a route at each end, with how often it was asked for.
fn of_route(port: u16, route: &str, times: u64) -> [(Series, u64); 2] {
    Role::BOTH.map(|role| (Series::requests(port, role).with("route", route), times))
}

/// All times to first byte at each end: one histogram a service, which series that leave take nothing from.
fn first_bytes(port: u16, requests: u64) -> [(Series, u64); 2] {
    let series = |role| Series::at("traffic_time_to_first_byte_seconds", port, role).suffixed("_count");
    Role::BOTH.map(|role| (series(role), requests))
}

/// What must not go down from one look to the next.
#[derive(Default)]
struct Rising(BTreeMap<String, f64>);

impl Rising {
    fn check(&mut self, scrape: &Scrape, series: &[(Series, u64)]) -> Result<()> {
        for (series, _) in series {
            let now = scrape.sum(series);
            let before = self.0.insert(series.to_string(), now).unwrap_or_default();
            ensure!(now >= before, "{series} went from {before} to {now}");
        }
        Ok(())
    }
}

/// What the kernel has of the services of a port.
#[derive(Debug, PartialEq, Eq)]
struct InKernel {
    /// Series that have been admitted.
    series: usize,
    /// Routes that some entry of a histogram belongs to.
    routes: usize,
}

fn in_kernel(agent: &Agent<'_>, port: u16) -> Result<InKernel> {
    let latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = map(agent, "LATENCIES")?.try_into()?;
    let of_port = indices(agent, port)?;
    let keys = latencies.keys().collect::<Result<Vec<_>, _>>()?;
    let own = || keys.iter().filter(|key| of_port.contains(&key.service));
    let routes: BTreeSet<_> =
        own().filter(|key| key.route != 0).map(|key| (key.service, key.route)).collect();
    let series = own().filter(|key| key.span == Span::Admission as u8).count();
    Ok(InKernel { series, routes: routes.len() })
}

/// The kernel side's own count of the entries that take of a service's quota, and of its series, is that of those there are.
fn places_agree(agent: &Agent<'_>, port: u16) -> Result<(usize, usize)> {
    let latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = map(agent, "LATENCIES")?.try_into()?;
    let held: Array<_, u64> = map(agent, "SERVICE_ENTRIES")?.try_into()?;
    let keys = latencies.keys().collect::<Result<Vec<_>, _>>()?;
    let mut all = (0, 0);
    for index in indices(agent, port)? {
        let is_series = |key: &LatencyKey| key.span == Span::Admission as u8;
        let takes = |key: &&LatencyKey| key.service == index && (is_series(key) || key.takes_quota());
        let own: Vec<_> = keys.iter().filter(takes).collect();
        let series = own.iter().filter(|key| is_series(key)).count();
        let counted = held.get(&index, 0)?;
        let (of_entries, of_series) = (counted & u64::from(u32::MAX), counted >> 32);
        ensure!(
            of_entries == own.len() as u64 && of_series == series as u64,
            "service {index} has {} entries of {series} series, counted are {of_entries} of {of_series}",
            own.len()
        );
        all = (all.0 + own.len(), all.1 + series);
    }
    Ok(all)
}

/// Nothing is left of what the agent does to take series away.
fn nothing_is_leaving(agent: &Agent<'_>) -> Result<()> {
    let leaving: HashMap<_, LatencyKey, LatencyCell> = map(agent, "LEAVING")?.try_into()?;
    let flag: Array<_, u64> = map(agent, "DIVERTED")?.try_into()?;
    let orders: Array<_, Order> = map(agent, "ORDERS")?.try_into()?;
    ensure!(leaving.keys().next().is_none(), "entries are still leaving");
    ensure!(flag.get(&0, 0)? == STRAIGHT, "what is counted is still diverted");
    for order in orders.iter() {
        ensure!(order?.action == Action::Nothing as u32, "an order is left");
    }
    Ok(())
}

#[test]
fn idle_series_leave_beside_one_under_load_and_begin_at_zero_when_they_come_back() -> Result<()> {
    const ROUTES: u8 = 18;
    let flags = ["--routes", "--idle-after", "5s", "--users-window", "1s"];
    let agent = Setup::default().flags(&flags).ticking_every("200ms").alone().start()?;
    let nginx = Nginx::start()?;
    let port = nginx.port();
    let load = Steady::start(nginx.ipv4());
    let asked = ask_for_each(&nginx, ROUTES)?;
    let idle: Vec<_> =
        routes(ROUTES).flat_map(|route| of_route(port, &route, METHODS.len() as u64)).collect();
    gauges_are(&agent, &idle)?;
    let before = in_kernel(&agent, port)?;
    let living = [of_route(port, "/ok", 0), first_bytes(port, 0)].concat();
    let mut rising = Rising::default();
    let began = Instant::now();
    poll::until("the idle series to leave", || {
        let scrape = agent.scrape()?;
        rising.check(&scrape, &living)?;
        let mut left = 0;
        for route in routes(ROUTES) {
            for (series, _) in of_route(port, &route, 0) {
                for method in METHODS {
                    let series = series.clone().with("method", method);
                    let value = scrape.get(&series);
                    ensure!(
                        value.is_none_or(|value| (value - 1.0).abs() < f64::EPSILON),
                        "{series} is {value:?}"
                    );
                    left += usize::from(value.is_none());
                }
            }
        }
        Ok((left == idle.len() * METHODS.len()).then_some(()))
    })?;
    let after = in_kernel(&agent, port)?;
    println!("{asked} series left at each end, within {:?}: {before:?} became {after:?}", began.elapsed());
    ensure!(before.series >= usize::try_from(2 * asked)?, "the kernel had {before:?}");
    // The one under load, at each end.
    ensure!(after == InKernel { series: 2, routes: 2 }, "the kernel still has {after:?}");
    let mut client = Client::connect(nginx.ipv4())?;
    for _ in 0..3 {
        client.exchange(&Request::new("GET", "/page-g"))?;
    }
    let sent = load.finish()?;
    let expected =
        [of_route(port, "/page-g", 3), of_route(port, "/ok", sent), first_bytes(port, sent + asked + 3)];
    gauges_are(&agent, &expected.concat())?;
    let logged: u64 = nginx.answered(usize::try_from(sent + asked + 3)?)?.values().sum();
    ensure!(logged == sent + asked + 3, "nginx logged {logged} requests");
    println!(
        "{sent} requests of the one under load; {:?} entries and series left",
        places_agree(&agent, port)?
    );
    nothing_is_leaving(&agent)
}

/// Requests that come just when their series leaves: by the histogram of all of them none is lost and none counted twice.
#[test]
fn what_comes_for_a_series_as_it_leaves_is_counted() -> Result<()> {
    const THREADS: u8 = 4;
    const ROUNDS: u32 = 10;
    let flags = ["--routes", "--idle-after", "1s", "--users-window", "1s"];
    let agent = Setup::default().flags(&flags).ticking_every("100ms").alone().start()?;
    let nginx = Nginx::start()?;
    let port = nginx.port();
    // It keeps the service from falling idle.
    let _open = Client::connect(nginx.ipv4())?;
    let come = |seed: u8| -> Result<u64> {
        let mut chance = fastrand::Rng::with_seed(seed.into());
        let mut client = Client::connect(nginx.ipv4())?;
        let routes: Vec<_> = routes(8).map(|route| format!("{route}{}", char::from(b'g' + seed))).collect();
        let mut asked = 0;
        for _ in 0..ROUNDS {
            for route in &routes {
                client.exchange(&Request::new("GET", route))?;
                asked += 1;
                // Eight of them: a route comes again about when it is due to leave.
                thread::sleep(Duration::from_millis(chance.u64(110..170)));
            }
        }
        Ok(asked)
    };
    let (mut shown, mut departures) = (BTreeMap::new(), 0);
    let asked = thread::scope(|scope| -> Result<u64> {
        let clients: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || come(seed))).collect();
        while clients.iter().any(|client| !client.is_finished()) {
            let scrape = agent.scrape()?;
            for (series, _) in (0..THREADS).flat_map(|seed| {
                let route = format!("/page-g{}", char::from(b'g' + seed));
                of_route(port, &route, 0)
            }) {
                let is_there = scrape.get(&series).is_some();
                let was_there = shown.insert(series.to_string(), is_there).unwrap_or_default();
                departures += u32::from(was_there && !is_there);
            }
            thread::sleep(Duration::from_millis(20));
        }
        clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?).sum()
    })?;
    println!("{asked} requests; {departures} departures of an eighth of the series were seen");
    ensure!(departures > 0, "none left in between");
    gauges_are(&agent, &first_bytes(port, asked))?;
    places_agree(&agent, port)?;
    nothing_is_leaving(&agent)
}

/// Killed at whatever it does while series leave.
#[test]
fn an_agent_that_is_killed_while_series_leave_loses_no_count_and_no_place() -> Result<()> {
    const KILLS: u64 = 8;
    const ROUTES: u8 = 8;
    let pins = PinDirectory::alone()?;
    let start = |idle_after: &str| {
        let flags = ["--routes", "--idle-after", idle_after, "--users-window", "1s"];
        Setup::default().flags(&flags).ticking_every("100ms").pinned(&pins).start()
    };
    let mut agent = start("1s")?;
    let nginx = Nginx::start()?;
    let port = nginx.port();
    let living = [of_route(port, "/ok", 0), first_bytes(port, 0)].concat();
    let load = Steady::start(nginx.ipv4());
    let mut chance = fastrand::Rng::with_seed(12);
    let (mut rising, mut asked) = (Rising::default(), 0);
    for kill in 1..=KILLS {
        asked += ask_for_each(&nginx, ROUTES)?;
        rising.check(&agent.collected()?, &living)?;
        // About when they leave.
        thread::sleep(Duration::from_millis(chance.u64(700..1300)));
        agent.end(Signal::SIGKILL)?;
        agent = start("1s")?;
        ensure!(agent.log()?.contains("took over"), "kill {kill}: it did not take over the pinned state");
        rising.check(&agent.collected()?, &living)?;
    }
    poll::until("the idle series to leave", || {
        let scrape = agent.scrape()?;
        rising.check(&scrape, &living)?;
        let one = Series::requests(port, Role::Server).with("route", "/page-g");
        Ok(scrape.get(&one).is_none().then_some(()))
    })?;
    let sent = load.finish()?;
    agent.end(Signal::SIGKILL)?;
    // Nothing leaves from now on.
    let agent = start("1h")?;
    gauges_are(&agent, &[of_route(port, "/ok", sent), first_bytes(port, sent + asked)].concat())?;
    println!(
        "{KILLS} kills, {sent} requests of the series under load, {asked} of others; {:?} entries and series left",
        places_agree(&agent, port)?
    );
    nothing_is_leaving(&agent)
}

/// A request that waits while the series that it will belong to leaves.
#[test]
fn a_request_in_flight_counts_in_a_series_that_left_meanwhile() -> Result<()> {
    let flags = ["--routes", "--idle-after", "2s", "--users-window", "1s"];
    let agent = Setup::default().flags(&flags).ticking_every("100ms").alone().start()?;
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let server = Server::start(Ipv4Addr::LOCALHOST, move |mut stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        while http1::head(&mut reader)?.is_some() {
            let released = released.lock().map_err(|_| anyhow!("another connection panicked"))?;
            poll::word(&released, "the test to have the server answer")?;
            drop(released);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
        Ok(())
    })?;
    let request = Request::new("GET", "/slow");
    let mut client = Client::connect(server.address())?;
    for _ in 0..2 {
        release.send(())?;
        client.exchange(&request)?;
    }
    let series = of_route(server.port(), "/slow", 2);
    gauges_are(&agent, &series)?;
    thread::scope(|scope| -> Result<()> {
        let waiting = scope.spawn(|| client.exchange(&request));
        poll::until("the series to leave", || {
            let scrape = agent.scrape()?;
            Ok(series.iter().all(|(series, _)| scrape.get(series).is_none()).then_some(()))
        })?;
        let in_flight = Series::at("traffic_requests_in_flight", server.port(), Role::Server);
        gauges_are(&agent, &[(in_flight, 1)])?;
        release.send(())?;
        waiting.join().map_err(|_| anyhow!("the client panicked"))??;
        Ok(())
    })?;
    gauges_are(&agent, &of_route(server.port(), "/slow", 1))?;
    drop(client);
    server.finish()
}
