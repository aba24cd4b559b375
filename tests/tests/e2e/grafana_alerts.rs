//! Grafana's alert rules, which are those of Prometheus in another form.

use std::{collections::BTreeSet, env, fs};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    grafana,
    rules::{alerts, of_repository, yaml},
};

/// As in the baselines of the ring `prog`: `update` writes the file anew.
const VARIABLE: &str = "TRAFFIC_PROBE_BASELINE";

#[test]
fn grafanas_rules_are_those_of_prometheus() -> Result<()> {
    let path = of_repository("deploy/grafana/provisioning/alerting/traffic-probe.yml");
    let rendered = grafana::provisioned(&alerts()?)?;
    if env::var_os(VARIABLE).is_some_and(|value| value == "update") {
        return Ok(fs::write(&path, rendered)?);
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    ensure!(
        written == rendered,
        "{} is not what the rules give: its head says how to render it",
        path.display()
    );
    Ok(())
}

#[test]
fn the_provisioning_names_one_source_and_one_directory() -> Result<()> {
    let of = |file: &str| yaml(&of_repository("deploy/grafana/provisioning").join(file));
    let source = &of("datasources/traffic-probe.yml")?["datasources"][0];
    let alerting = of("alerting/traffic-probe.yml")?;
    let mut names = BTreeSet::new();
    for group in alerting["groups"].as_array().context("groups")? {
        for rule in group["rules"].as_array().context("rules")? {
            let uid = rule["uid"].as_str().context("a uid")?;
            // What Grafana allows.
            ensure!(uid.len() <= 40 && names.insert(uid), "{uid} is too long, or there twice");
            ensure!(rule["data"][0]["datasourceUid"] == source["uid"], "{uid} asks another source");
        }
    }
    let path = of("dashboards/traffic-probe.yml")?["providers"][0]["options"]["path"].clone();
    let compose = fs::read_to_string(of_repository("deploy/compose/compose.yml"))?;
    let path = path.as_str().context("a path")?;
    ensure!(compose.contains(&format!("../grafana/dashboards:{path}:ro")), "compose mounts no {path}");
    Ok(())
}
