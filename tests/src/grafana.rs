//! What is shipped for Grafana: dashboards with their queries, and the alert rules in Grafana's own form.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::rules::{Alert, of_repository};

/// The data source that the provisioning makes.
const SOURCE: &str = "traffic-probe-prometheus";

/// A dashboard's file.
#[derive(Debug)]
pub struct Dashboard {
    /// The file's name.
    pub file: String,
    /// As it is.
    pub text: String,
    /// What is in it.
    pub content: Value,
}

/// A query of a dashboard.
#[derive(Debug)]
pub struct Query {
    /// Where it stands, for messages.
    pub place: String,
    /// What is asked of Prometheus; Grafana's variables in it are still to be replaced.
    pub expr: String,
}

/// All dashboards that are shipped, in the order of their names.
pub fn dashboards() -> Result<Vec<Dashboard>> {
    let directory = of_repository("deploy/grafana/dashboards");
    let mut dashboards = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path())?;
        let content = serde_json::from_str(&text).with_context(|| format!("{file} is no JSON"))?;
        dashboards.push(Dashboard { file, text, content });
    }
    dashboards.sort_by(|one, other| one.file.cmp(&other.file));
    ensure!(!dashboards.is_empty(), "there are no dashboards");
    Ok(dashboards)
}

impl Dashboard {
    /// The panels that show something.
    pub fn panels(&self) -> Result<Vec<&Value>> {
        let all = self.content["panels"].as_array().context("panels")?;
        let shown: Vec<_> = all.iter().filter(|panel| panel["type"] != "row").collect();
        // A row that is collapsed has its panels within it, where this would not find them.
        ensure!(shown.iter().all(|panel| panel["panels"].is_null()), "{}: panels in a panel", self.file);
        Ok(shown)
    }

    /// Every query of every panel.
    pub fn queries(&self) -> Result<Vec<Query>> {
        let mut queries = Vec::new();
        for panel in self.panels()? {
            let title = panel["title"].as_str().context("a title")?;
            for target in panel["targets"].as_array().with_context(|| format!("{title} has no targets"))? {
                let place = format!("{}, {title}, {}", self.file, target["refId"]);
                let expr = target["expr"].as_str().with_context(|| format!("{place}: no query"))?.to_owned();
                queries.push(Query { place, expr });
            }
        }
        Ok(queries)
    }

    /// The variables that are asked for: name, label, and selector of `label_values(selector, label)`.
    pub fn variables(&self) -> Result<Vec<[&str; 3]>> {
        let all = self.content["templating"]["list"].as_array().context("a list of variables")?;
        let asked = all.iter().filter(|variable| variable["type"] == "query");
        asked
            .map(|variable| {
                let query = variable["query"]["query"].as_str().context("a variable's query")?;
                let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
                let (selector, label) = inner
                    .and_then(|inner| inner.rsplit_once(", "))
                    .with_context(|| format!("not of the form label_values(selector, label): {query}"))?;
                Ok([variable["name"].as_str().context("a name")?, label, selector])
            })
            .collect()
    }
}

/// The alerts as Grafana provisions them from a file: the same expressions, of which any series that there is fires.
pub fn provisioned(alerts: &[Alert]) -> Result<String> {
    const HEAD: &str = "\
# Rendered from deploy/prometheus/rules/alerts.yml by
# `TRAFFIC_PROBE_BASELINE=update cargo xtask test e2e -- grafana_alerts`: change it there. For those who let Grafana alert, and
# not Prometheus with Alertmanager. The recording rules stay with Prometheus: expressions use what they record.
";
    let mut groups: Vec<Value> = Vec::new();
    for alert in alerts {
        if groups.last().is_none_or(|group| group["name"] != alert.group.as_str()) {
            groups.push(json!({
                "orgId": 1, "name": alert.group, "folder": "Traffic Probe", "interval": "1m", "rules": []
            }));
        }
        let rules = groups.last_mut().and_then(|group| group["rules"].as_array_mut()).context("a group")?;
        rules.push(rule(alert));
    }
    let document = json!({ "apiVersion": 1, "groups": groups });
    Ok(format!("{HEAD}{}", serde_saphyr::to_string(&document)?))
}

fn rule(alert: &Alert) -> Value {
    let asks = json!({
        "refId": "A",
        "datasourceUid": SOURCE,
        "relativeTimeRange": { "from": 600, "to": 0 },
        "model": { "refId": "A", "expr": alert.expr, "instant": true, "range": false },
    });
    // An expression gives the series that are amiss, and no figure of them is below zero.
    let any = json!({ "evaluator": { "type": "gt", "params": [-1] } });
    let judges = json!({
        "refId": "B",
        "datasourceUid": "__expr__",
        "relativeTimeRange": { "from": 600, "to": 0 },
        "model": { "refId": "B", "type": "threshold", "expression": "A", "conditions": [any] },
    });
    // Grafana's own `$value` is a text about all of a rule's queries.
    let annotations = alert
        .annotations
        .iter()
        .map(|(name, text)| (name.clone(), text.replace("$value", "$values.A.Value").into()));
    json!({
        "uid": alert.name,
        "title": alert.name,
        "condition": "B",
        "data": [asks, judges],
        "for": alert.waits,
        "keepFiringFor": alert.keeps,
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": alert.labels,
        "annotations": annotations.collect::<serde_json::Map<_, _>>(),
    })
}
