//! The shipped configuration and rules, judged by Prometheus's own tool, and held to their runbooks.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    process,
    rules::{self, Alert, alerts, of_repository, yaml},
    tool,
};

const LIMIT: Duration = Duration::from_secs(30);
const RUNBOOKS: &str = "docs/operations/runbooks";
const ADDRESS: &str = "https://github.com/traffic-probe/traffic-probe/blob/main/docs/operations/runbooks/";
const SECTIONS: [&str; 4] = ["\n## Meaning\n", "\n## Impact\n", "\n## Diagnosis\n", "\n## What to do\n"];

fn promtool(arguments: &[&str]) -> Result<String> {
    let mut command = tool::command("promtool")?;
    process::run_well(command.args(arguments).current_dir(of_repository("deploy/prometheus")), LIMIT)
}

#[test]
fn promtool_takes_configuration_and_rules() -> Result<()> {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "rules/alerts.yml", "rules/recording.yml"])?;
    promtool(&["check", "config", "--lint=all", "--lint-fatal", "static.yml", "file-sd.yml"])?;
    Ok(())
}

/// Debian's Prometheus is built without the discovery of Kubernetes: only what that would find is replaced by a file.
#[test]
fn promtool_takes_what_kubernetes_discovery_feeds() -> Result<()> {
    let shipped = fs::read_to_string(of_repository("deploy/prometheus/kubernetes.yml"))?;
    let discovery = "    kubernetes_sd_configs:\n      - role: pod\n";
    let by_file = "    file_sd_configs:\n      - files: [pods.json]\n";
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("kubernetes.yml");
    fs::write(&config, rules::replaced(&shipped, discovery, by_file)?)?;
    fs::create_dir(directory.path().join("rules"))?;
    rules::hurried(&directory.path().join("rules"))?;
    let pod = |port: &str, name: &str| {
        serde_json::json!({
            "targets": ["ignored:1"],
            "labels": {
                "__meta_kubernetes_pod_label_app_kubernetes_io_name": name,
                "__meta_kubernetes_pod_annotation_prometheus_io_scrape": "true",
                "__meta_kubernetes_pod_annotation_prometheus_io_port": port,
                "__meta_kubernetes_pod_ip": "192.0.2.7",
                "__meta_kubernetes_pod_node_name": "node1",
            }
        })
    };
    let pods = serde_json::json!([pod("9464", "traffic-probe"), pod("80", "web")]);
    fs::write(directory.path().join("pods.json"), pods.to_string())?;
    let config = config.to_str().context("a path of text")?;
    promtool(&["check", "config", config])?;
    let found = promtool(&["check", "service-discovery", "--timeout=1s", config, "traffic-probe"])?;
    let found: serde_json::Value = serde_json::from_str(&found)?;
    let targets: Vec<_> = found.as_array().context("a list")?.iter().map(|one| &one["labels"]).collect();
    let kept: Vec<_> = targets.iter().filter(|labels| labels["__address__"] == "192.0.2.7:9464").collect();
    ensure!(kept.len() == 1 && kept[0]["node"] == "node1", "{targets:#?}");
    ensure!(
        targets.iter().filter(|labels| labels.as_object().is_some_and(|all| !all.is_empty())).count() == 1
    );
    Ok(())
}

/// Names in the first column of tables of docs/reference/metrics.md, which a unit test holds to what is exported.
fn documented() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(of_repository("docs/reference/metrics.md"))?;
    let names = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    Ok(names.map(|(name, _)| name.trim_matches('`').to_owned()).collect())
}

/// The words of an expression that are names of metrics of the agent.
fn metrics(expr: &str) -> BTreeSet<&str> {
    let words = expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| ["traffic_", "process_"].iter().any(|start| word.starts_with(start))).collect()
}

/// A test of rules has series made by hand: a name that the agent does not have would be found nowhere else.
#[test]
fn rules_ask_for_what_the_agent_exports() -> Result<()> {
    let documented = documented()?;
    let mut asked = 0;
    for file in ["alerts", "recording"] {
        let rules = yaml(&of_repository(&format!("deploy/prometheus/rules/{file}.yml")))?;
        let groups = rules["groups"].as_array().context("groups")?.iter();
        for rule in groups.filter_map(|group| group["rules"].as_array()).flatten() {
            let expr = rule["expr"].as_str().context("an expression")?;
            for name in metrics(expr) {
                let of_histogram =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let known =
                    documented.contains(name) || of_histogram.is_some_and(|name| documented.contains(name));
                ensure!(known, "{name} is not in docs/reference/metrics.md: {rule}");
                asked += 1;
            }
            for reasons in expr.split("reason=~\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let alternatives = reasons.split('|').filter(|reason| !reason.starts_with('.'));
                for reason in alternatives {
                    ensure!(documented.contains(reason), "no reason {reason} is documented: {rule}");
                }
            }
        }
    }
    ensure!(asked > 30, "only {asked} names were found");
    Ok(())
}

#[test]
fn alerts_fire_where_they_have_to_and_nowhere_else() -> Result<()> {
    promtool(&["test", "rules", "tests/alerts.yml"])?;
    let tests = yaml(&of_repository("deploy/prometheus/tests/alerts.yml"))?;
    let cases: Vec<_> = tests["tests"]
        .as_array()
        .context("tests")?
        .iter()
        .filter_map(|test| test["alert_rule_test"].as_array())
        .flatten()
        .collect();
    for Alert { name, .. } in alerts()? {
        let of_alert = || cases.iter().filter(|case| case["alertname"] == name.as_str());
        let expects = |some: bool| {
            of_alert().any(|case| case["exp_alerts"].as_array().is_some_and(|all| all.is_empty() != some))
        };
        ensure!(expects(true), "no test has {name} fire");
        ensure!(expects(false), "no test has {name} be silent");
    }
    Ok(())
}

#[test]
fn each_alert_has_a_runbook_that_says_what_it_is() -> Result<()> {
    let alerts = alerts()?;
    for alert in &alerts {
        let name = &alert.name;
        ensure!(alert.annotations["runbook_url"] == format!("{ADDRESS}{name}.md"), "{alert:?}");
        ensure!(
            ["summary", "description"].iter().all(|one| alert.annotations.contains_key(*one)),
            "{alert:?}"
        );
        let severity = &alert.labels["severity"];
        ensure!(["info", "warning", "critical"].contains(&severity.as_str()), "{alert:?}");
        let page = fs::read_to_string(of_repository(RUNBOOKS).join(format!("{name}.md")))
            .with_context(|| format!("{name} has no page in {RUNBOOKS}"))?;
        let head = format!(
            "# {name}\n\n| severity | for | keeps firing for |\n|---|---|---|\n| {severity} | {} | {} |\n\n```promql\n{}\n```\n",
            alert.waits,
            alert.keeps,
            alert.expr.trim_end()
        );
        ensure!(page.starts_with(&head), "{name}.md does not begin with what the rule is:\n{head}");
        for section in SECTIONS {
            ensure!(page.contains(section), "{name}.md has no {section}");
        }
    }
    let names: BTreeSet<_> = alerts.iter().map(|alert| format!("{}.md", alert.name)).collect();
    let mut pages = fs::read_dir(of_repository(RUNBOOKS))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<BTreeSet<_>>>()?;
    // Those of `traffic-probe monitor` have rules of their own: `monitor::alerts`.
    pages.retain(|page| !page.starts_with("Monitor") && page != "README.md");
    ensure!(pages == names, "pages without an alert: {:?}", pages.difference(&names).collect::<Vec<_>>());
    Ok(())
}
