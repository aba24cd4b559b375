//! The Postman collection of the agent's API, run by newman: it passes on an agent under load, and fails where one is wrong.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use probe_tests::{
    agent::{Agent, Setup},
    metrics::{Role, Series},
    newman::{self, Run},
    nginx::Nginx,
    nginx_process,
    paced::{Pace, Requests},
    poll, ports,
    process::Process,
    tool,
};
use tempfile::TempDir;

/// Requests in the collection.
const REQUESTS: usize = 20;

/// Requests per second while it runs.
const LOAD: u64 = 300;

/// newman shares two cores with the load and with the agent; that the limit bites is a case of its own.
const LIMIT: (&str, &str) = ("maxResponseMs", "3000");

struct Busy {
    agent: Agent<'static>,
    _load: Requests,
    _nginx: Nginx,
}

impl Busy {
    fn start() -> Result<Self> {
        let agent = Setup::default().alone().flags(&["--window", "2s"]).start()?;
        let nginx = Nginx::start()?;
        let pace = Pace::default();
        pace.set(LOAD);
        let load = Requests::start(nginx.ipv4(), "/ok", 4, &pace)?;
        poll::until("a rate of the load", || {
            let per_second = Series::at("traffic_requests_per_second", nginx.port(), Role::Server);
            Ok((agent.scrape()?.sum(&per_second) > 0.5 * LOAD as f64).then_some(()))
        })?;
        Ok(Self { agent, _load: load, _nginx: nginx })
    }

    fn url(&self) -> String {
        format!("http://{}", self.agent.address())
    }
}

/// Fails unless newman says so, and these assertions are among those that failed.
fn fails(run: &Run, assertions: &[&str]) -> Result<()> {
    println!("{} of {} assertions failed: {:#?}", run.failed.len(), run.assertions.len(), run.failed);
    ensure!(run.code == Some(1), "newman ended with {:?}: {run:#?}", run.code);
    for assertion in assertions {
        ensure!(run.failed.iter().any(|failed| failed == assertion), "{assertion} did not fail");
    }
    Ok(())
}

#[test]
fn the_collection_passes_on_an_agent_under_load_and_on_no_other() -> Result<()> {
    let busy = Busy::start()?;
    let base = busy.url();
    let run = newman::run(&[("baseUrl", &base), LIMIT, ("service", "nginx")])?;
    ensure!(run.code == Some(0) && run.failed.is_empty(), "{run:#?}");
    ensure!(run.requests == REQUESTS, "{} requests were made", run.requests);
    println!("{} requests, {} assertions, none of which failed", run.requests, run.assertions.len());

    let elsewhere = format!("{base}/elsewhere");
    let wrong = newman::run(&[("baseUrl", &elsewhere), LIMIT])?;
    fails(&wrong, &["All services: status is 200", "All tiers: is as described", "Health: status is 200"])?;

    let missing = newman::run(&[("baseUrl", &base), LIMIT, ("service", "no-such-service")])?;
    fails(&missing, &["All services: the service is there, or any if none is named"])?;

    let hurried = newman::run(&[("baseUrl", &base), ("maxResponseMs", "0")])?;
    fails(&hurried, &["The node: answers within 0 ms"])?;
    ensure!(hurried.failed.len() == REQUESTS, "each answer takes some time: {:?}", hurried.failed);

    let Busy { agent, .. } = busy;
    agent.end(Signal::SIGTERM)?;
    let gone = newman::run(&[("baseUrl", &base), LIMIT])?;
    ensure!(gone.code == Some(1) && gone.requests == REQUESTS, "{gone:#?}");
    ensure!(gone.failed == gone.assertions, "nobody is there, and yet something passed: {gone:#?}");
    Ok(())
}

/// An nginx before an agent, which writes something else in place of a part of the agent's answers.
struct Falsifier {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Falsifier {
    fn start(agent: &Agent<'_>, part: &str, replacement: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-falsifier-")?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let root = directory.path();
        let (temporary, root_shown, agent) =
            (nginx_process::temporary_files(root), root.display(), agent.address());
        let configuration = format!(
            r"daemon off;
user root;
pid {root_shown}/pid;
events {{ worker_connections 64; }}
http {{
    access_log off;
    {temporary}
    server {{
        listen {address};
        location / {{
            proxy_pass http://{agent};
            proxy_set_header Accept-Encoding identity;
            sub_filter_types application/json;
            sub_filter_once off;
            sub_filter '{part}' '{replacement}';
        }}
    }}
}}
"
        );
        let process = nginx_process::start(tool::command("nginx")?, root, &configuration)?;
        Ok(Self { address, _process: process, _directory: directory })
    }
}

#[test]
fn figures_that_disagree_and_shapes_that_are_not_described_are_found() -> Result<()> {
    let busy = Busy::start()?;
    let cases = [
        // A digit before every sum of requests, those by kind left alone but for the same digit: they no longer add up.
        (
            r#""requests_total":"#,
            r#""requests_total":1"#,
            "All services: figures of requests agree with each other",
        ),
        (r#""p50":"#, r#""p50":9"#, "All services: figures of requests agree with each other"),
        (r#""bytes_total":"#, r#""octets_total":"#, "Interfaces: is as described"),
        (r#""role":"server""#, r#""role":"both""#, "All services: is as described"),
        (r#""class":"normal""#, r#""class":"fine""#, "All tiers: is as described"),
        (r#""requests_total":"#, r#""requests_total":1"#, "All services: requests are those of /metrics"),
    ];
    for (part, replacement, assertion) in cases {
        let falsifier = Falsifier::start(&busy.agent, part, replacement)?;
        let base = format!("http://{}", falsifier.address);
        println!("{part} as {replacement}:");
        fails(&newman::run(&[("baseUrl", &base), LIMIT, ("service", "")])?, &[assertion])?;
    }
    Ok(())
}
