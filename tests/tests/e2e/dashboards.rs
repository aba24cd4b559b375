//! Every query of every dashboard, asked of a real Prometheus about real load; and that the figures are those of the load.

use std::{
    env, fs,
    net::Ipv4Addr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Setup,
    burner::Burner,
    cgroup::Cgroup,
    client::{Client, Request},
    dns::Dnsmasq,
    expect::within,
    grafana::{Dashboard, dashboards},
    nginx::Nginx,
    paced::{Pace, Requests},
    poll, ports, process,
    prometheus::{self, Prometheus, figure},
    rules::{alerts, of_repository},
    tool,
};
use serde_json::Value;

/// Grafana takes four scrape intervals or more.
const RATE_INTERVAL: &str = "10s";

/// What Grafana puts in the place of variables: all services and interfaces, seen as servers.
const VARIABLES: [(&str, &str); 8] = [
    ("$__rate_interval", RATE_INTERVAL),
    ("$__range", RATE_INTERVAL),
    ("$instance", ".*"),
    ("$interface", ".*"),
    ("$service", ".*"),
    ("$role", "server"),
    ("$port", ".*"),
    // Where nothing is amiss, panels show zero: here something is, and the figure has to be a real one.
    (" or vector(0)", ""),
];

fn replaced(expr: &str) -> Result<String> {
    let expr = VARIABLES.iter().fold(expr.to_owned(), |text, (name, value)| text.replace(name, value));
    ensure!(!expr.replace(".*\"", "").contains('$'), "a variable that the test does not know: {expr}");
    Ok(expr)
}

/// Series of which at least one value is a number.
fn has_data(series: &[Value]) -> bool {
    let numbers = |one: &Value| -> bool {
        let value = one["value"].as_array().map(|_| &one["value"]).into_iter();
        value
            .chain(one["values"].as_array().into_iter().flatten())
            .any(|pair| figure(pair).is_ok_and(f64::is_finite))
    };
    series.iter().any(numbers)
}

/// Something of everything that dashboards show: requests that succeed and fail, at two methods and paths; UDP; a unit with a cgroup;
/// connections that are refused and reset; a burst, so that traffic is high.
struct Load {
    // Dropped in this order: clients before their server, processes before their cgroup.
    paced: Vec<Requests>,
    nginx: Nginx,
    dnsmasq: Dnsmasq,
    burner: Burner,
    _cgroups: Vec<Cgroup>,
}

impl Load {
    fn start() -> Result<Self> {
        let (nginx, dnsmasq) = (Nginx::start()?, Dnsmasq::start()?);
        let path = format!("system.slice/burner-{}.service", ports::free()?);
        let cgroups = Cgroup::accounting("memory", &path)?;
        let burner = Burner::start(|command| cgroups.iter().try_for_each(|cgroup| cgroup.enter(command)))?;
        let pace = Pace::default();
        pace.set(20);
        let paths = ["/ok", "/broken", "/absent", "/after-50ms"];
        let paced = paths.map(|path| Requests::start(nginx.ipv4(), path, 1, &pace));
        let paced = paced.into_iter().collect::<Result<_>>()?;
        Ok(Self { paced, nginx, dnsmasq, burner, _cgroups: cgroups })
    }

    /// What does not come by itself.
    fn stir(&self) -> Result<()> {
        self.dnsmasq.query(20)?;
        self.burner.burn(Duration::from_millis(20))?;
        let nobody = (Ipv4Addr::LOCALHOST, ports::free()?).into();
        ensure!(Client::connect(nobody).is_err(), "nobody listens there");
        let mut client = Client::connect(self.nginx.ipv4())?;
        client.exchange(&Request::new("POST", "/upload").body(10_000))?;
        client.reset()
    }

    fn finish(mut self) -> Result<()> {
        self.paced.drain(..).try_for_each(Requests::finish)
    }
}

/// All but the one that shows what `traffic-probe monitor` finds, too: that is asked in `monitor::alerts`.
fn of_agent() -> Result<Vec<Dashboard>> {
    Ok(dashboards()?.into_iter().filter(|dashboard| dashboard.file != "monitor.json").collect())
}

#[test]
fn every_query_of_every_panel_returns_data() -> Result<()> {
    let agent = Setup::default().flags(&["--routes", "--window", "2s"]).start()?;
    let load = Load::start()?;
    let prometheus = prometheus::Setup::of(&agent).start()?;
    let mut queries = Vec::new();
    for dashboard in of_agent()? {
        for query in dashboard.queries()? {
            queries.push((query.place, replaced(&query.expr)?));
        }
    }
    let all = queries.len();
    ensure!(all > 100, "only {all} queries were found");
    let outcome = poll::until_within(Duration::from_mins(1), "data for every query", || {
        load.stir()?;
        let mut empty = Vec::new();
        for (place, expr) in queries.drain(..) {
            if !has_data(&prometheus.query(&expr)?) {
                empty.push((place, expr));
            }
        }
        queries = empty;
        Ok(queries.is_empty().then_some(()))
    });
    outcome.with_context(|| format!("{} of {all} queries have no data: {queries:#?}", queries.len()))?;
    println!("{all} queries have data");
    for dashboard in of_agent()? {
        variables_have_values(&dashboard, &prometheus)?;
    }
    runbooks_can_be_asked(&prometheus)?;
    load.finish()
}

fn variables_have_values(dashboard: &Dashboard, prometheus: &Prometheus) -> Result<()> {
    for [name, label, selector] in dashboard.variables()? {
        let values = prometheus.label_values(label, &replaced(selector)?)?;
        println!("{}: ${name} is one of {values:?}", dashboard.file);
        ensure!(!values.is_empty(), "{}: ${name} has no values", dashboard.file);
    }
    Ok(())
}

/// The queries of runbooks: whether they are ones, not what they find.
fn runbooks_can_be_asked(prometheus: &Prometheus) -> Result<()> {
    for alert in alerts()? {
        let page =
            fs::read_to_string(of_repository("docs/operations/runbooks").join(format!("{}.md", alert.name)))?;
        let blocks: Vec<_> =
            page.split("```promql\n").skip(1).filter_map(|block| block.split("\n```").next()).collect();
        ensure!(blocks.len() == 2, "{}: its own expression, and the queries of its diagnosis", alert.name);
        for query in blocks[1].split("\n\n") {
            prometheus.query(query).with_context(|| format!("{}: {query}", alert.name))?;
        }
    }
    Ok(())
}

/// The one query of a panel that is a single figure.
fn panel(dashboard: &str, title: &str) -> Result<String> {
    let dashboards = dashboards()?;
    let file = format!("traffic-probe-{dashboard}.json");
    let found = dashboards.iter().find(|one| one.file == file).with_context(|| format!("no {file}"))?;
    let place = format!("{file}, {title}, \"A\"");
    let queries = found.queries()?;
    let query = queries.iter().find(|query| query.place == place);
    replaced(&query.with_context(|| format!("no {place}"))?.expr)
}

/// A scrape sees the last tick, so that both ends of what a rate is taken over, 9 s, are up to a tick off: 0.1 s, or two where the
/// machine is busy.
const ROUNDING: f64 = 0.03;

#[test]
fn figures_are_those_of_the_load() -> Result<()> {
    const GOOD: u64 = 90;
    const FAILED: u64 = 10;
    const WATCHED: Duration = Duration::from_secs(10);
    let agent = Setup::default().ticking_every("100ms").alone().start()?;
    let nginx = Nginx::start()?;
    let prometheus = prometheus::Setup::of(&agent).start()?;
    let paces = [Pace::default(), Pace::default()];
    let mut loads = Vec::new();
    for (pace, (rate, path)) in paces.iter().zip([(GOOD, "/ok"), (FAILED, "/broken")]) {
        pace.set(rate);
        loads.push(Requests::start(nginx.ipv4(), path, 1, pace)?);
    }
    let port = nginx.port();
    // The agent's own port has requests, too: those of Prometheus.
    let of_nginx =
        |query: &str| query.replace("role=\"server\"", &format!("role=\"server\",port=\"{port}\""));
    let seen = format!("count(traffic_requests_total{{port=\"{port}\",role=\"server\"}}) == 2");
    poll::until("Prometheus to know both", || prometheus.value(&seen))?;
    let answered = || -> Result<f64> { Ok(nginx.answered(0)?.values().sum::<u64>() as f64) };
    let (began, before) = (Instant::now(), answered()?);
    thread::sleep(WATCHED);
    let ask = |title: &str| -> Result<f64> {
        let query = of_nginx(&panel("overview", title)?);
        prometheus.value(&query)?.with_context(|| format!("{query} has no value"))
    };
    let (qps, tps, errors) = (ask("QPS")?, ask("TPS")?, ask("Error ratio")?);
    let sent = (answered()? - before) / began.elapsed().as_secs_f64();
    within(ROUNDING, "QPS", qps, sent)?;
    let failed = FAILED as f64 / (GOOD + FAILED) as f64;
    within(ROUNDING, "TPS", tps, sent * (1.0 - failed))?;
    // Of 90 that failed one more or less is that much.
    within(ROUNDING, "error ratio", errors, failed)?;
    loads.into_iter().try_for_each(Requests::finish)?;
    // And in the end to the request: a counter is not rounded.
    let count = answered()?;
    let total = format!("sum(traffic_requests_total{{port=\"{port}\",role=\"server\"}}) == {count}");
    poll::until("Prometheus to have counted each request", || prometheus.value(&total))?;
    Ok(())
}

/// TypeScript takes no text for a member of an enumeration, so the types have their texts in the place of enumerations.
const TYPES: &str = "\
import type { Dashboard } from '@grafana/schema';
type Plain<T> = unknown extends T ? T
  : T extends string ? `${T}`
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
export const dashboard: Plain<Dashboard> = ";

#[test]
fn dashboards_are_of_grafanas_types() -> Result<()> {
    const VARIABLE: &str = "TRAFFIC_PROBE_GRAFANA_SCHEMA";
    let schema: PathBuf = env::var_os(VARIABLE)
        .with_context(|| {
            format!("{VARIABLE} is not set: `cargo xtask test e2e` says where Grafana's types are")
        })?
        .into();
    let directory = tempfile::tempdir()?;
    std::os::unix::fs::symlink(schema.join("node_modules"), directory.path().join("node_modules"))?;
    let compile = |files: &[String]| -> Result<process::Output> {
        let mut node = tool::command("node")?;
        node.arg(schema.join("node_modules/typescript/bin/tsc"));
        node.args([
            "--strict",
            "--noEmit",
            "--skipLibCheck",
            "--preserveSymlinks",
            "--moduleResolution",
            "node",
        ]);
        node.args(["--module", "esnext", "--target", "es2022"]).args(files).current_dir(directory.path());
        process::run(&mut node, Duration::from_mins(1))
    };
    let written = |dashboard: Dashboard| -> Result<String> {
        let file = dashboard.file.replace(".json", ".ts");
        fs::write(directory.path().join(&file), format!("{TYPES}{}", dashboard.text))?;
        Ok(file)
    };
    let output = compile(&dashboards()?.into_iter().map(written).collect::<Result<Vec<_>>>()?)?;
    ensure!(output.status.success(), "{}{}", output.stdout, output.stderr);
    // That it would tell: an unknown key, and a value that no one knows.
    for (from, to) in [("\"schemaVersion\"", "\"schemaVersoin\""), ("\"absolute\"", "\"absolut\"")] {
        let wrong = dashboards()?.remove(0).text.replace(from, to);
        fs::write(directory.path().join("wrong.ts"), format!("{TYPES}{wrong}"))?;
        let output = compile(&["wrong.ts".to_owned()])?;
        ensure!(!output.status.success() && output.stdout.contains(to), "{to} was taken: {}", output.stdout);
    }
    Ok(())
}
