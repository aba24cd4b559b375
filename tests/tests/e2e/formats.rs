//! The formats and codings of `/metrics`, read by those who made them.

use std::{env, fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    metrics::{Role, Series},
    nginx::Nginx,
    poll, process,
    prometheus::Setup as Prometheus,
    tool,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A bucket of the kernel's histograms: 2^(1/8).
const BUCKET: f64 = 1.090_508;

/// Asks nginx so often for answers that take three different times.
fn load(nginx: &Nginx) -> Result<u64> {
    let mut client = Client::connect(nginx.ipv4())?;
    for (path, times) in [("/ok", 60), ("/after/0.005s", 30), ("/after/0.048s", 10)] {
        for _ in 0..times {
            client.exchange(&Request::new("GET", path))?;
        }
    }
    Ok(100)
}

#[test]
fn quantiles_of_native_histograms_in_prometheus_are_the_agents() -> Result<()> {
    // A window that holds every request, so that both have the same.
    let agent = Setup::default().flags(&["--histograms", "native", "--window", "10m"]).start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let requests = load(&nginx)?;
    let scrape = mark.rises_by_exactly(&[(Series::requests(nginx.port(), Role::Server), requests)])?;
    let prometheus = Prometheus::of(&agent).with_native_histograms().start()?;
    let of = |metric: &str| format!("sum({metric}{{port=\"{}\",role=\"server\"}})", nginx.port());
    let duration = of("traffic_request_duration_seconds");
    poll::until("Prometheus to have every request in a native histogram", || {
        let count = prometheus.value(&format!("histogram_count({duration})"))?;
        Ok((count == Some(requests as f64)).then_some(()))
    })?;
    for quantile in ["0.5", "0.95", "0.99"] {
        let latency = Series::at("traffic_request_latency_seconds", nginx.port(), Role::Server);
        let agents = scrape.get(&latency.with("quantile", quantile)).context("the agent's quantile")?;
        let expression = format!("histogram_quantile({quantile}, {duration})");
        let prometheuses = prometheus.value(&expression)?.context("Prometheus' quantile")?;
        println!("quantile {quantile}: the agent's {agents}, Prometheus' {prometheuses}");
        let ratio = prometheuses / agents;
        ensure!((1.0 / BUCKET..=BUCKET).contains(&ratio), "quantile {quantile}: {prometheuses} for {agents}");
    }
    let sum = prometheus.value(&format!("histogram_sum({duration})"))?.context("a sum")?;
    let text = Series::at("traffic_request_duration_seconds_sum", nginx.port(), Role::Server);
    ensure!((sum - scrape.sum(&text)).abs() < 1e-9, "a sum of {sum} for {}", scrape.sum(&text));
    let buckets =
        prometheus.value(&format!("count({{__name__=~\"traffic_.*_bucket\",port=\"{}\"}})", nginx.port()))?;
    ensure!(buckets.is_none(), "{buckets:?} classic buckets, which were not asked for");
    Ok(())
}

#[test]
fn prometheus_reads_openmetrics_with_the_times_of_counters() -> Result<()> {
    let agent = Setup::default().flags(&["--created-series"]).start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let requests = load(&nginx)?;
    mark.rises_by_exactly(&[(Series::requests(nginx.port(), Role::Server), requests)])?;
    let prometheus = Prometheus::of(&agent).start()?;
    let of = |metric: &str| format!("{metric}{{port=\"{}\",role=\"server\"}}", nginx.port());
    poll::until("Prometheus to have every request", || {
        let count = prometheus.value(&format!("sum({})", of("traffic_requests_total")))?;
        Ok((count == Some(requests as f64)).then_some(()))
    })?;
    // Only in OpenMetrics are there such series.
    let age =
        prometheus.value(&format!("time() - max({})", of("traffic_requests_created")))?.context("a time")?;
    ensure!((0.0..300.0).contains(&age), "counters were zero {age} s ago");
    let p50 =
        format!("histogram_quantile(0.5, sum by (le) ({}))", of("traffic_request_duration_seconds_bucket"));
    let p50 = prometheus.value(&p50)?.context("a median")?;
    ensure!((0.000_01..0.005).contains(&p50), "a median of {p50}");
    Ok(())
}

/// What curl gets, as it came.
fn fetched(agent: &Agent<'_>, headers: &[&str], into: &Path) -> Result<()> {
    let mut curl = tool::command("curl")?;
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--output"]).arg(into);
    curl.args(headers.iter().flat_map(|header| ["--header", header]));
    process::run_well(curl.arg(format!("http://{}/metrics", agent.address())), LIMIT).map(drop)
}

/// The lines of a page, but for what the agent's own process takes, which is more each time.
fn lines(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with("process_")).collect()
}

/// Says how many samples the page has in it, if it is one.
const PARSER: &str = "\
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(sum(len(family.samples) for family in parse(open(sys.argv[1], encoding='utf-8').read())))
";

#[test]
fn openmetrics_is_what_its_reference_parser_reads() -> Result<()> {
    let modules = env::var("TRAFFIC_PROBE_OPENMETRICS").context(
        "TRAFFIC_PROBE_OPENMETRICS is not set: `cargo xtask test e2e` fetches the parser and says where it is",
    )?;
    let agent = Setup::default().flags(&["--created-series", "--buckets", "0.001,0.01,0.1,1"]).start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let requests = load(&nginx)?;
    mark.rises_by_exactly(&[(Series::requests(nginx.port(), Role::Server), requests)])?;
    let page = nginx.directory().join("page.txt");
    fetched(&agent, &["Accept: application/openmetrics-text;version=1.0.0"], &page)?;
    let mut python = tool::command("python3")?;
    python.env("PYTHONPATH", modules).args(["-c", PARSER]).arg(&page);
    let parsed: usize = process::run_well(&mut python, LIMIT)?.trim().parse()?;
    let text = fs::read_to_string(&page)?;
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    println!("{parsed} samples were read, of {samples}");
    ensure!(parsed == samples && samples > 100, "{parsed} of {samples} samples were read");
    Ok(())
}

#[test]
fn gzip_and_zstd_give_the_page_that_comes_without_them() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let requests = load(&nginx)?;
    mark.rises_by_exactly(&[(Series::requests(nginx.port(), Role::Server), requests)])?;
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    // Figures change with each tick: what comes between two pages that are the same is of their tick.
    poll::until("four pages within a tick", || {
        fetched(&agent, &[], &at("before"))?;
        fetched(&agent, &["Accept-Encoding: gzip"], &at("page.gz"))?;
        fetched(&agent, &["Accept-Encoding: zstd"], &at("page.zst"))?;
        fetched(&agent, &[], &at("after"))?;
        let [before, after] = [fs::read_to_string(at("before"))?, fs::read_to_string(at("after"))?];
        if lines(&before) != lines(&after) {
            return Ok(None);
        }
        for (program, name) in [("gzip", "page.gz"), ("zstd", "page.zst")] {
            let coded = at(name);
            let page = process::run_well(
                tool::command(program)?.args(["--decompress", "--stdout"]).arg(&coded),
                LIMIT,
            )?;
            println!("{program}: {} of {} bytes", fs::metadata(&coded)?.len(), page.len());
            ensure!(lines(&page) == lines(&before), "{program} gives another page:\n{page}");
        }
        Ok(Some(()))
    })
}
