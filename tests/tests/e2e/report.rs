//! `traffic-probe report`: what it tells of a real agent under load, and what it says where there is none.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    expect::within,
    nginx::Nginx,
    paced::{Pace, Requests},
    poll, ports,
    process::{self, Output},
    tls::TlsFront,
    tool,
};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(15);

/// Requests per second that succeed, and that fail.
const SUCCEED: u64 = 150;
const FAIL: u64 = 50;

fn report(flags: &[&str]) -> Result<Output> {
    let mut command = Command::new(tool::agent()?);
    process::run(command.arg("report").args(flags), LIMIT)
}

fn reported(flags: &[&str]) -> Result<String> {
    let output = report(flags)?;
    ensure!(output.status.success(), "ended with {}: {}", output.status, output.stderr);
    Ok(output.stdout)
}

fn url(agent: &Agent<'_>) -> String {
    format!("http://{}", agent.address())
}

/// What the report has on a service, as a program reads it.
fn line(agent: &Agent<'_>, port: u16) -> Result<Option<Value>> {
    let report: Value = serde_json::from_str(&reported(&["--url", &url(agent), "--format", "json"])?)?;
    let services = report["services"].as_array().context("services")?;
    Ok(services.iter().find(|line| line["port"] == port).cloned())
}

#[test]
fn a_service_has_its_figures_its_tier_and_what_that_calls_for() -> Result<()> {
    let agent = Setup::default().flags(&["--window", "4s"]).alone().start()?;
    let (nginx, idle) = (Nginx::start()?, Nginx::start()?);
    let (good, bad, rare) = (Pace::default(), Pace::default(), Pace::default());
    let loads = [(&nginx, "/ok", SUCCEED, &good), (&nginx, "/broken", FAIL, &bad), (&idle, "/ok", 2, &rare)]
        .map(|(server, path, rate, pace)| {
            pace.set(rate);
            Requests::start(server.ipv4(), path, 2, pace)
        });
    // Of a window that is not full yet the rest counts as idle, for the tier.
    let line = poll::until("the load to fill the window", || {
        let line = line(&agent, nginx.port())?.filter(|line| line["tier"]["class"] == "normal");
        let enough = (SUCCEED + FAIL) as f64 * 0.95;
        Ok(line.filter(|line| {
            line["requests"][0]["requests_per_second"].as_f64().is_some_and(|per_second| per_second > enough)
        }))
    })?;
    let requests = &line["requests"][0];
    let figure = |value: &Value| value.as_f64().context("a figure");
    within(0.1, "requests per second", figure(&requests["requests_per_second"])?, (SUCCEED + FAIL) as f64)?;
    within(
        0.05,
        "part that fails",
        figure(&requests["error_ratio"])?,
        FAIL as f64 / (SUCCEED + FAIL) as f64,
    )?;
    ensure!(line["concurrent_users"] == 1, "{line:#}");

    let text = reported(&["--url", &url(&agent)])?;
    println!("{text}");
    let row = |server: &Nginx| {
        let start = format!("nginx:{} ", server.port());
        text.lines().find(|line| line.starts_with(&start)).with_context(|| format!("no row of {start}"))
    };
    let (busy, quiet) = (row(&nginx)?, row(&idle)?);
    ensure!(busy.contains("  normal  http1 ") && busy.ends_with(" %"), "{busy}");
    ensure!(quiet.contains("  low     http1 "), "{quiet}");
    let calls = format!("normal: nginx:{}\n  Watch: alert on P95", nginx.port());
    ensure!(text.contains(&calls), "{calls} is missing");
    ensure!(text.contains("  Nothing: one small instance carries it"), "what low calls for is missing");
    loads.into_iter().try_for_each(|load| load?.finish())
}

/// Runs it where it must fail, with a sentence that has these words.
fn fails(flags: &[&str], words: &[&str]) -> Result<()> {
    let Output { status, stderr, .. } = report(flags)?;
    println!("{stderr}");
    ensure!(status.code() == Some(1), "ended with {status}: {stderr}");
    ensure!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "no single line: {stderr}");
    for word in words {
        ensure!(stderr.contains(word), "`{word}` is missing in: {stderr}");
    }
    Ok(())
}

#[test]
fn where_there_is_no_agent_a_sentence_says_what_to_do() -> Result<()> {
    let nobody = format!("http://127.0.0.1:{}", ports::free()?);
    fails(&["--url", &nobody], &[&nobody, "refused", "`traffic-probe run`", "--listen", "--url"])?;
    let nginx = Nginx::start()?;
    let stranger = format!("http://{}", nginx.ipv4());
    fails(&["--url", &stranger], &[&stranger, "not the API of an agent", "404", "--url"])?;
    fails(&["--url", "http://nobody.invalid"], &["http://nobody.invalid", "lookup", "--url"])
}

#[test]
fn behind_tls_an_agent_is_trusted_by_its_authority() -> Result<()> {
    let agent = Agent::start()?;
    let front = TlsFront::start(agent.address())?;
    let (url, authority) = (front.url(), front.authority());
    let authority = authority.to_str().context("a path of text")?;
    // From here on it is a server that it knows itself.
    agent.collected()?;
    let text = reported(&["--url", &url, "--ca", authority])?;
    ensure!(text.starts_with("SERVICE"), "{text}");
    fails(&["--url", &url], &[&url, "UnknownIssuer", "--ca FILE"])?;
    fails(&["--url", &url, "--ca", "/dev/null"], &["/dev/null", "PEM"])?;
    fails(&["--url", &url.replace("https", "http")], &["not the API of an agent", "400"])
}
