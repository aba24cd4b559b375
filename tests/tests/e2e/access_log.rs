//! nginx's own access log, line by line, is the truth on what it answered and on how long it took.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::within,
    machine,
    metrics::{Role, Series},
    nginx::Nginx,
    summary,
};

/// The mix: methods and statuses, the last of them on a connection that ends with the answer.
const MIX: [(&str, &str); 10] = [
    ("GET", "/ok"),
    ("GET", "/absent"),
    ("HEAD", "/ok"),
    ("POST", "/upload"),
    ("GET", "/page"),
    ("PUT", "/ok"),
    ("DELETE", "/absent"),
    ("POST", "/broken"),
    ("GET", "/empty"),
    ("GET", "/ok"),
];
const CLIENTS: usize = 8;
const ROUNDS: usize = 2_500;
const REQUESTS: usize = CLIENTS * ROUNDS * MIX.len();

/// Asks for the mix over and over: nine requests on a connection, the tenth of which ends it.
fn ask_for_the_mix(nginx: &Nginx) -> Result<()> {
    let mut requests = Vec::new();
    for (number, (method, path)) in MIX.into_iter().enumerate() {
        let body = if matches!(method, "POST" | "PUT") { 200 } else { 0 };
        let request = Request::new(method, path).body(body);
        let last = number + 1 == MIX.len();
        requests.push(if last { request.header("Connection: close") } else { request });
    }
    for round in 0..ROUNDS {
        let mut client = Client::connect(if round % 2 == 0 { nginx.ipv4() } else { nginx.ipv6() })?;
        for request in &requests {
            client.exchange(request)?;
        }
    }
    Ok(())
}

#[test]
fn totals_by_method_and_status_are_those_of_the_log() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask_for_the_mix(&nginx))).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })?;
    let logged: BTreeMap<_, u64> = nginx.answered(REQUESTS)?;
    let all: u64 = logged.values().sum();
    ensure!(all == REQUESTS as u64, "the log has {all} lines, the clients asked {REQUESTS} times");
    ensure!(logged.len() == 8, "not the mix that was asked for: {logged:?}");
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.push((Series::requests(nginx.port(), role), all));
        for ((method, status), count) in &logged {
            let series = Series::requests(nginx.port(), role).with("method", method);
            expected.push((series.with("status", status), *count));
        }
        expected.push((Series::at("traffic_connections_opened_total", nginx.port(), role), all / 10));
    }
    mark.rises_by_exactly(&expected)?;
    println!("{all} lines, by method and status {logged:?}: as many at either end");
    Ok(())
}

const SLOW_CLIENTS: usize = 8;
const SLOW_REQUESTS_EACH: usize = 60;

/// How long the server is to wait: from 40 to 240 ms, evenly on a logarithmic scale, in a mixed order.
fn wait(number: usize) -> Duration {
    let all = SLOW_CLIENTS * SLOW_REQUESTS_EACH;
    // 191 has no divisor in common with the number of requests: each of them comes once.
    let place = (number * 191 % all) as f64 / all as f64;
    Duration::from_secs_f64(0.040 * 6_f64.powf(place))
}

/// One client's requests, each with a wait of its own.
fn ask_slowly(nginx: &Nginx, client: usize) -> Result<()> {
    let mut connection = Client::connect(nginx.ipv4())?;
    for number in 0..SLOW_REQUESTS_EACH {
        let wait = wait(client * SLOW_REQUESTS_EACH + number);
        connection.exchange(&Request::new("GET", &format!("/after/{:.3}s", wait.as_secs_f64())))?;
    }
    Ok(())
}

/// The log has whole milliseconds, which is little of 40 and more; the wait begins once nginx has read the request, and its
/// line is written once the answer is with the socket: what lies around is the kernel's part, microseconds here.
#[test]
fn durations_are_those_of_the_log() -> Result<()> {
    let agent = Setup::default().alone().flags(&["--window", "60s"]).start()?;
    // nginx and the clients inherit it: on a busy machine nginx's clock starts when it gets to run, not when it is asked.
    machine::wake_first()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    thread::scope(|scope| {
        let ask = |client| ask_slowly(&nginx, client);
        let clients: Vec<_> = (0..SLOW_CLIENTS).map(|client| scope.spawn(move || ask(client))).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("a client panicked"))
    })?;
    let all = SLOW_CLIENTS * SLOW_REQUESTS_EACH;
    let counts = Role::BOTH.map(|role| (Series::requests(nginx.port(), role), all as u64));
    let scrape = mark.rises_by_exactly(&counts)?;
    nginx.answered(all)?;
    let logged = nginx.times()?;
    for role in Role::BOTH {
        let latency = Series::at("traffic_request_latency_seconds", nginx.port(), role);
        for (quantile, fraction) in [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)] {
            let figure = scrape.sum(&latency.clone().with("quantile", quantile));
            let truth = summary::quantile(&logged, fraction);
            within(0.05, &format!("{role:?}, quantile {quantile}, against the log"), figure, truth)?;
        }
        let figure = scrape.sum(&latency.with("quantile", "avg"));
        within(0.05, &format!("{role:?}, average, against the log"), figure, summary::average(&logged))?;
    }
    Ok(())
}
