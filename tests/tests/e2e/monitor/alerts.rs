//! A real Prometheus scrapes monitor and agent: the example's rules fire, and every query of the dashboard has an answer.

use std::{collections::BTreeSet, fs, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Setup,
    nginx::Nginx,
    poll, ports,
    postman::{Collection, Monitor},
    process,
    prometheus::{Prometheus, figure},
    tool,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{FAST, OK};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// Several scrapes and several runs of newman, on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn the_rules_are_what_their_tests_say() -> Result<()> {
    let mut command = tool::command("promtool")?;
    command.args(["test", "rules", "monitor-rules.test.yml"]).current_dir(format!("{DEPLOY}/prometheus"));
    let said = process::run_well(&mut command, LIMIT)?;
    ensure!(said.contains("SUCCESS"), "{said}");
    let rules = rules()?;
    for alert in rules.split("- alert: ").skip(1).filter_map(|rest| rest.lines().next()) {
        let runbook = format!("{DEPLOY}/../docs/operations/runbooks/{alert}.md");
        ensure!(fs::metadata(&runbook).is_ok(), "{alert} has no runbook");
        ensure!(
            rules.contains(&format!("/docs/operations/runbooks/{alert}.md")),
            "{alert} does not name its runbook"
        );
    }
    Ok(())
}

fn rules() -> Result<String> {
    Ok(fs::read_to_string(format!("{DEPLOY}/prometheus/monitor-rules.yml"))?)
}

/// A Prometheus that scrapes some addresses each second.
fn prometheus(targets: &[SocketAddr], rules: &str) -> Result<Prometheus> {
    let directory = TempDir::with_prefix("traffic-probe-prometheus-")?;
    let root = directory.path();
    let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
    let configuration = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [ rules.yml ]\n\
         scrape_configs: [ {{ job_name: probe, static_configs: [ {{ targets: {targets:?} }} ] }} ]\n"
    );
    fs::write(root.join("prometheus.yml"), configuration)?;
    fs::write(root.join("rules.yml"), rules)?;
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let arguments = [
        format!("--config.file={}", root.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", root.join("data").display()),
        format!("--web.listen-address={address}"),
    ];
    Prometheus::run(&arguments, address, directory)
}

/// Those of the example's alerts that fire: their name and whose request it is.
fn firing(prometheus: &Prometheus) -> Result<BTreeSet<(String, String)>> {
    let mut all = BTreeSet::new();
    for alert in ["MonitorServerError", "MonitorSlow", "MonitorTestFailing", "MonitorNotRunning"] {
        for one in prometheus.firing(alert)? {
            let request = one["labels"]["request"].as_str().unwrap_or_default();
            all.insert((alert.to_owned(), request.to_owned()));
        }
    }
    Ok(all)
}

/// Whether a query has an answer that is a number.
fn answers(prometheus: &Prometheus, query: &str) -> Result<bool> {
    let series = prometheus.query(query)?;
    Ok(series.iter().any(|one| figure(&one["value"]).is_ok_and(f64::is_finite)))
}

/// The queries of the dashboard, with its variables set.
fn queries(dashboard: &Value, port: u16) -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        let title = panel["title"].as_str().context("the title of a panel")?;
        for target in panel["targets"].as_array().into_iter().flatten() {
            let mut query = target["expr"].as_str().context("a query")?.to_owned();
            for (variable, value) in [
                ("$collection", "shop"),
                ("$service", "nginx"),
                ("$port", &port.to_string()),
                ("$__rate_interval", "30s"),
            ] {
                query = query.replace(variable, value);
            }
            ensure!(!query.contains('$'), "{title} has an unknown variable: {query}");
            queries.push((title.to_owned(), query));
        }
    }
    Ok(queries)
}

#[test]
fn the_rules_fire_and_the_dashboard_has_data_of_both_sides() -> Result<()> {
    let agent = Setup::default().start()?;
    let nginx = Nginx::start()?;
    let shop = Collection::new("shop")?
        .request("Orders/list", "GET", "/ok", &[OK])
        .request("pay", "POST", "/broken", &[OK])
        .request("search", "GET", "/after/1.1s", &[OK, FAST]);
    let monitor = Monitor::start(&shop, nginx.ipv4(), &["--every", "2s"])?;
    // The rules as they are, but for the time that something has to last.
    let rules = rules()?.replace("for: 2m", "for: 2s").replace("for: 3m", "for: 2s");
    let prometheus = prometheus(&[agent.address(), monitor.address()], &rules)?;
    let expected = [
        ("MonitorServerError", "pay"),
        ("MonitorSlow", "search"),
        ("MonitorTestFailing", "pay"),
        ("MonitorTestFailing", "search"),
    ]
    .map(|(alert, request)| (alert.to_owned(), request.to_owned()));
    let firing = poll::until_within(LIMIT, "the alerts", || {
        let firing = firing(&prometheus)?;
        Ok(expected.iter().all(|alert| firing.contains(alert)).then_some(firing))
    })?;
    ensure!(firing == BTreeSet::from(expected), "others fire, too: {firing:?}");

    let dashboard: Value =
        serde_json::from_slice(&fs::read(format!("{DEPLOY}/grafana/dashboards/monitor.json"))?)?;
    let queries = queries(&dashboard, nginx.port())?;
    for (title, query) in &queries {
        poll::until_within(LIMIT, &format!("an answer to `{query}` of {title}"), || {
            Ok(answers(&prometheus, query)?.then_some(()))
        })?;
    }
    println!(
        "{} queries of {} panels have data",
        queries.len(),
        dashboard["panels"].as_array().map_or(0, Vec::len)
    );
    let sides = ["traffic_probe_monitor_", "traffic_requests_total", "traffic_request_duration_seconds"];
    for side in sides {
        ensure!(queries.iter().any(|(_, query)| query.contains(side)), "no query of {side}");
    }
    Ok(())
}
