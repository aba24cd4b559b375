//! The chart, and what is rendered from it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use probe_tests::cluster::{BASE, CHART, Cluster, RELEASE};
use serde_json::Value;

/// The objects of a manifest by kind and name, as the API server understands them without keeping them: a field that it does
/// not know is an error.
fn objects(cluster: &Cluster, manifest: &str) -> Result<BTreeMap<String, Value>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), manifest)?;
    let path = file.path().display().to_string();
    let said =
        cluster.kubectl(&["apply", "--dry-run=server", "--validate=strict", "-o", "json", "-f", &path])?;
    let list: Value = serde_json::from_str(&said)?;
    let items = list["items"].as_array().context("a list of objects")?.clone();
    let named = items.into_iter().map(|mut object| {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        // What the API server makes up anew each time.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            for made_up in ["uid", "creationTimestamp", "managedFields", "resourceVersion", "annotations"] {
                metadata.remove(made_up);
            }
        }
        (name, object)
    });
    Ok(named.collect())
}

fn rendered(cluster: &Cluster, values: &[&str]) -> Result<String> {
    let mut arguments = vec!["template", RELEASE, CHART, "--namespace", RELEASE, "--kube-version", "1.36.0"];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    cluster.helm(&arguments)
}

#[test]
fn the_base_is_what_the_chart_gives_and_a_real_server_takes_both() -> Result<()> {
    let cluster = Cluster::find()?;
    cluster.kubectl(&["apply", "-f", &format!("{BASE}/namespace.yaml")])?;
    let chart = objects(&cluster, &rendered(&cluster, &[])?)?;
    let mut base = objects(&cluster, &cluster.kubectl(&["kustomize", BASE])?)?;
    ensure!(base.remove("\"Namespace\" \"traffic-probe\"").is_some(), "the base brings its namespace");
    ensure!(base == chart, "chart: {chart:#?}\nbase: {base:#?}");
    ensure!(base.len() == 6, "{:?}", base.keys());
    Ok(())
}

#[test]
fn every_setting_gives_objects_that_a_real_server_takes() -> Result<()> {
    let cluster = Cluster::find()?;
    cluster.kubectl(&["apply", "-f", &format!("{BASE}/namespace.yaml")])?;
    let kinds = |values: &[&str]| -> Result<Vec<String>> {
        Ok(objects(&cluster, &rendered(&cluster, values)?)?.into_keys().collect())
    };
    let without_api = kinds(&["kubernetes.api=false"])?;
    ensure!(
        without_api == ["\"DaemonSet\" \"traffic-probe\"", "\"ServiceAccount\" \"traffic-probe\""],
        "{without_api:?}"
    );
    let of_pod =
        kinds(&["hostNetwork=false", "networkPolicy.enabled=true", "pin.enabled=false", "flags={--routes}"])?;
    ensure!(of_pod.iter().any(|name| name.contains("NetworkPolicy")), "{of_pod:?}");
    ensure!(!of_pod.iter().any(|name| name.starts_with("\"Role\"")), "nothing is pinned: {of_pod:?}");
    // The operator's kinds are not known here; that they are rendered is all that is seen.
    let operators = rendered(&cluster, &["podMonitor.enabled=true", "prometheusRule.enabled=true"])?;
    ensure!(
        operators.contains("kind: PodMonitor") && operators.contains("kind: PrometheusRule"),
        "{operators}"
    );
    Ok(())
}
