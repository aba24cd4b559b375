//! A real Prometheus with the shipped configuration and rules.

use std::{collections::BTreeMap, fmt::Write as _, fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    agent::Agent,
    client::{Client, Request},
    poll, ports,
    process::Process,
    rules, tool,
};

/// A running Prometheus, ended when dropped.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

/// What Prometheus is to do.
#[derive(Debug)]
pub struct Setup<'a> {
    agent: SocketAddr,
    alertmanager: Option<SocketAddr>,
    every: &'a str,
    native_histograms: bool,
}

impl<'a> Setup<'a> {
    /// To scrape an agent each second.
    #[must_use]
    pub fn of(agent: &Agent<'_>) -> Self {
        Self { agent: agent.address(), alertmanager: None, every: "1s", native_histograms: false }
    }

    /// To scrape and evaluate this often.
    #[must_use]
    pub fn every(self, every: &'a str) -> Self {
        Self { every, ..self }
    }

    /// To ask for native histograms, which it does by protobuf.
    #[must_use]
    pub fn with_native_histograms(self) -> Self {
        Self { native_histograms: true, ..self }
    }

    /// To tell an Alertmanager.
    #[must_use]
    pub fn telling(self, alertmanager: SocketAddr) -> Self {
        Self { alertmanager: Some(alertmanager), ..self }
    }

    /// Starts it with the shipped `static.yml` and rules. Addresses and intervals are the test's, and alerts wait less long.
    pub fn start(self) -> Result<Prometheus> {
        let directory = TempDir::with_prefix("traffic-probe-prometheus-")?;
        let root = directory.path();
        fs::create_dir(root.join("rules"))?;
        rules::hurried(&root.join("rules"))?;
        let shipped = fs::read_to_string(rules::of_repository("deploy/prometheus/static.yml"))?;
        let alertmanager = match self.alertmanager {
            Some(address) => address.port(),
            None => ports::free()?,
        };
        let mut config = shipped;
        for (from, to) in [
            ("127.0.0.1:9464", self.agent.to_string()),
            ("127.0.0.1:9093", format!("127.0.0.1:{alertmanager}")),
            ("scrape_interval: 15s", format!("scrape_interval: {0}\n  scrape_timeout: {0}", self.every)),
            ("evaluation_interval: 15s", format!("evaluation_interval: {}", self.every)),
        ] {
            config = rules::replaced(&config, from, &to)?;
        }
        let file = root.join("prometheus.yml");
        fs::write(&file, config)?;
        let features = self.native_histograms.then_some("--enable-feature=native-histograms");
        start(&file, directory, features)
    }
}

fn start(config: &Path, directory: TempDir, features: Option<&str>) -> Result<Prometheus> {
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let mut arguments = vec![
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", directory.path().join("data").display()),
        format!("--web.listen-address={address}"),
        "--log.level=warn".into(),
    ];
    arguments.extend(features.map(str::to_owned));
    Prometheus::run(&arguments, address, directory)
}

impl Prometheus {
    /// Starts one with these arguments, of which one is the address that it listens at; the directory is removed when it ends.
    pub fn run(arguments: &[String], address: SocketAddr, directory: TempDir) -> Result<Self> {
        let process = Process::spawn(tool::command("prometheus")?.args(arguments))?;
        let mut prometheus = Self { process, address, _directory: directory };
        poll::until("Prometheus to be ready", || {
            let ended = prometheus.process.ended()?;
            ensure!(ended.is_none(), "Prometheus has ended: {}", prometheus.process.stderr()?);
            Ok(get(prometheus.address, "/-/ready").is_ok_and(|(status, _)| status == 200).then_some(()))
        })?;
        Ok(prometheus)
    }

    /// The addresses that it scrapes.
    pub fn targets(&self) -> Result<Vec<String>> {
        let data = self.ask("targets?state=active")?;
        let targets = data["activeTargets"].as_array().context("a list of targets")?.iter();
        targets.map(|one| Ok(one["scrapeUrl"].as_str().context("an address")?.to_owned())).collect()
    }

    /// For each job of one target its health and the error of its last scrape; none before each was scraped.
    pub fn health(&self) -> Result<Option<BTreeMap<String, (String, String)>>> {
        let data = self.ask("targets?state=active")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let targets = data["activeTargets"].as_array().context("a list of targets")?.iter();
        let health: BTreeMap<_, _> = targets
            .map(|one| (text(&one["labels"]["job"]), (text(&one["health"]), text(&one["lastError"]))))
            .collect();
        let tried = !health.is_empty() && health.values().all(|(health, _)| health != "unknown");
        Ok(tried.then_some(health))
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// The series that an expression has now, each with `metric` and `value`, or `values` where it asks for a range.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.ask(&format!("query?query={}", encoded(expression)))?;
        // A scalar is one value.
        Ok(match &data["result"] {
            Value::Array(series) if data["resultType"] != "scalar" => series.clone(),
            scalar => vec![serde_json::json!({ "metric": {}, "value": scalar })],
        })
    }

    /// The one figure that an expression has, with the time that it is of; none if there is no series.
    pub fn value(&self, expression: &str) -> Result<Option<f64>> {
        let series = self.query(expression)?;
        ensure!(series.len() <= 1, "{expression} has {} series: {series:?}", series.len());
        series.first().map(|series| figure(&series["value"])).transpose()
    }

    /// The values of a label among the series that a selector names.
    pub fn label_values(&self, label: &str, selector: &str) -> Result<Vec<String>> {
        let data = self.ask(&format!("label/{label}/values?match[]={}", encoded(selector)))?;
        let values = data.as_array().context("a list of values")?.iter();
        values.map(|value| Ok(value.as_str().context("a text")?.to_owned())).collect()
    }

    /// The alerts that fire now, of a name, each with `labels`, `annotations` and `activeAt`.
    pub fn firing(&self, alert: &str) -> Result<Vec<Value>> {
        let data = self.ask("alerts")?;
        let all = data["alerts"].as_array().context("a list of alerts")?.iter();
        Ok(all
            .filter(|one| one["labels"]["alertname"] == alert && one["state"] == "firing")
            .cloned()
            .collect())
    }

    /// Fails unless every rule was evaluated, and without an error.
    pub fn rules_are_well(&self) -> Result<usize> {
        let data = poll::until("every rule to be evaluated", || {
            let data = self.ask("rules")?;
            let unknown = of_rules(&data)?.iter().any(|rule| rule["health"] == "unknown");
            Ok((!unknown).then_some(data))
        })?;
        let rules = of_rules(&data)?;
        let ill: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        ensure!(ill.is_empty(), "rules that fail: {ill:#?}");
        Ok(rules.len())
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let (status, body) = get(self.address, &format!("/api/v1/{path}"))?;
        let answer: Value = serde_json::from_slice(&body)?;
        ensure!(status == 200 && answer["status"] == "success", "{path} is answered with {status}: {answer}");
        ensure!(answer["warnings"].is_null(), "{path}: {}", answer["warnings"]);
        Ok(answer["data"].clone())
    }
}

fn of_rules(data: &Value) -> Result<Vec<&Value>> {
    let groups = data["groups"].as_array().context("a list of groups")?;
    Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect())
}

/// The figure of a pair of time and text.
pub fn figure(pair: &Value) -> Result<f64> {
    pair[1].as_str().with_context(|| format!("no figure: {pair}"))?.parse().context("a figure")
}

fn get(address: SocketAddr, path: &str) -> Result<(u16, Vec<u8>)> {
    let mut client = Client::connect(address)?;
    let response = client.exchange(&Request::new("GET", path).header("Connection: close"))?;
    Ok((response.status, response.body))
}

/// Percent-encoded, for a query.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
