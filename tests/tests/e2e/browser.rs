//! A real browser: a page with a hundred objects of two servers, answers that are not waited for, an event stream, a WebSocket, and
//! all of it again by a reload.

use std::{collections::BTreeMap, fs, net::TcpStream, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Agent,
    metrics::{Role, Series},
    nginx::Nginx,
    poll, ports,
    process::Process,
    tool,
};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/browser/server.js");
/// A browser starts, and loads the page twice, which takes two seconds each.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long the page keeps its event stream and its WebSocket.
const STREAMS: f64 = 2.0;
const OBJECTS: u64 = 50;
const LOADS: u64 = 2;

/// How many requests had a method and a status.
type Kinds = BTreeMap<(String, String), u64>;

/// What requests came to by a log whose lines begin with a method and a status, and how many had each path.
fn counted(log: &str) -> Result<(Kinds, BTreeMap<String, u64>)> {
    let (mut kinds, mut paths) = (BTreeMap::new(), BTreeMap::new());
    for line in log.lines() {
        let mut words = line.split(' ').map(str::to_owned);
        let mut next = || words.next().with_context(|| format!("a short line: {line}"));
        *kinds.entry((next()?, next()?)).or_default() += 1;
        *paths.entry(next()?).or_default() += 1;
    }
    Ok((kinds, paths))
}

fn expected(port: u16, kinds: &Kinds) -> Vec<(Series, u64)> {
    let mut expected = Vec::new();
    for role in Role::BOTH {
        for ((method, status), count) in kinds {
            expected
                .push((Series::requests(port, role).with("method", method).with("status", status), *count));
        }
        expected.push((Series::requests(port, role), kinds.values().sum()));
        let failures = Series::at("traffic_request_outcomes_total", port, role).with("outcome", "failure");
        expected.push((failures, 0));
    }
    expected
}

#[test]
fn what_a_browser_asks_for_is_counted_as_the_servers_log_it() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let directory = tempfile::tempdir()?;
    let (port, log) = (ports::free()?, directory.path().join("log"));
    let mut node = tool::command("node")?;
    node.arg(SERVER).arg(port.to_string()).arg(format!("http://{}", nginx.ipv4())).arg(&log);
    let _node = Process::spawn(&mut node)?;
    poll::until("node to listen", || Ok(TcpStream::connect(("127.0.0.1", port)).ok()))?;
    let mark = agent.mark()?;
    let mut chromium = tool::command("chromium")?;
    chromium.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    chromium.args(["--disable-background-networking", "--disable-component-update", "--no-proxy-server"]);
    chromium.arg(format!("--user-data-dir={}", directory.path().join("profile").display()));
    let mut browser = Process::spawn(chromium.arg(format!("http://127.0.0.1:{port}/")))?;
    let text = || Ok(fs::read_to_string(&log).ok().filter(|text| text.contains(" /done")));
    poll::until_within(PATIENCE, "the page to have been loaded twice", text)
        .with_context(|| format!("chromium says: {}", browser.stderr().unwrap_or_default()))?;
    browser.terminate()?;
    drop(browser);

    let (of_node, paths) = counted(&fs::read_to_string(&log)?)?;
    let of_nginx: Kinds = nginx
        .answered(usize::try_from(LOADS * OBJECTS)?)?
        .into_iter()
        .map(|((method, status), count)| ((method, status.to_string()), count))
        .collect();
    println!("node: {of_node:?} {paths:?}; nginx: {of_nginx:?}");
    for (path, least) in [("/", LOADS), ("/object", LOADS * OBJECTS), ("/events", LOADS), ("/socket", LOADS)]
    {
        ensure!(paths.get(path) == Some(&least), "{path} was asked for another number of times: {paths:?}");
    }
    let cancelled = of_node.get(&("GET".to_owned(), "cancelled".to_owned())).copied().unwrap_or_default();
    ensure!(cancelled >= LOADS && paths.get("/slow") == Some(&cancelled), "not cancelled: {paths:?}");

    let mut all = expected(port, &of_node);
    all.extend(expected(nginx.port(), &of_nginx));
    for role in Role::BOTH {
        let cut = Series::at("traffic_responses_cut_short_total", port, role);
        all.push((cut.clone().with("by", "client"), LOADS));
        all.push((cut.with("by", "server"), 0));
    }
    let scrape = mark.rises_by_exactly(&all)?;
    for server in [port, nginx.port()] {
        let p99 =
            Series::at("traffic_request_latency_seconds", server, Role::Server).with("quantile", "0.99");
        let p99 = scrape.sum(&p99);
        ensure!(
            p99 > 0.0 && p99 < STREAMS,
            "P99 at port {server} is {p99} s: that of streams, not of answers"
        );
    }
    Ok(())
}
