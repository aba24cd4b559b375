//! The chart's values that change which objects there are, or what is in them: each is rendered and judged.

/// A name for messages, and values as helm's `--set-json` takes them.
pub(super) type Variant = (&'static str, &'static [&'static str]);

/// What everybody gets, and then a change of every value of the chart, alone or with those that it goes with.
pub(super) const VARIANTS: [Variant; 25] = [
    ("defaults", &[]),
    ("image", &[r#"image={"repository":"registry.example/probe","tag":"1.2.3","pullPolicy":"Always"}"#]),
    ("imagePullSecrets", &[r#"imagePullSecrets=[{"name":"registry"}]"#]),
    ("hostNetwork", &["hostNetwork=false"]),
    ("listen", &[r#"listen={"address":"127.0.0.1","port":9999}"#]),
    ("webConfig", &[r#"webConfig={"secret":"probe-web","scheme":"HTTPS"}"#]),
    ("kubernetes.api", &["kubernetes.api=false"]),
    ("kubernetes.labels", &[r#"kubernetes.labels=["namespace","workload"]"#]),
    ("kubernetes without pins", &["kubernetes.api=false", "pin.enabled=false"]),
    ("peers.enabled", &["peers.enabled=true"]),
    ("peers.endpointSlices", &[r#"peers={"enabled":true,"endpointSlices":true}"#]),
    ("pin.enabled", &["pin.enabled=false"]),
    ("pin.directory", &[r#"pin.directory="/sys/fs/bpf/other""#]),
    ("flags", &[r#"flags=["--routes","--interfaces=eth*"]"#]),
    ("env", &[r#"env=[{"name":"TRAFFIC_PROBE_WINDOW","value":"20s"}]"#]),
    ("resources", &[r#"resources={"limits":{"cpu":"1","memory":"1Gi"}}"#]),
    (
        "nodes",
        &[
            "tolerations=[]",
            r#"nodeSelector={"disk":"fast"}"#,
            r#"affinity={"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"disk","operator":"Exists"}]}]}}}"#,
        ],
    ),
    ("priorityClassName", &[r#"priorityClassName="system-cluster-critical""#]),
    ("updateStrategy", &[r#"updateStrategy={"type":"OnDelete","rollingUpdate":null}"#]),
    ("marks of the pod", &[r#"podAnnotations={"a.example/b":"c"}"#, r#"podLabels={"team":"edge"}"#]),
    ("scrapeAnnotations", &["scrapeAnnotations=false"]),
    ("podMonitor", &[r#"podMonitor={"enabled":true,"labels":{"release":"prometheus"}}"#]),
    ("prometheusRule", &[r#"prometheusRule={"enabled":true,"labels":{"release":"prometheus"}}"#]),
    ("dashboards", &[r#"dashboards={"enabled":true}"#]),
    (
        "networkPolicy",
        &[
            r#"networkPolicy={"enabled":true,"from":[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]}"#,
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace;

    #[test]
    fn every_value_is_tried() {
        let file = workspace::root().join("deploy/helm/traffic-probe/values.yaml");
        let text = fs::read_to_string(file).unwrap();
        let begins_a_value = |line: &&str| line.starts_with(|first: char| first.is_ascii_alphabetic());
        let values: Vec<_> =
            text.lines().filter(begins_a_value).filter_map(|line| line.split(':').next()).collect();
        assert!(values.len() > 15, "{values:?}");
        for value in values {
            let tried = VARIANTS
                .iter()
                .flat_map(|(_, sets)| *sets)
                .any(|set| set.strip_prefix(value).is_some_and(|rest| rest.starts_with(['=', '.'])));
            assert!(tried, "no variant changes the value `{value}` of the chart: add one");
        }
    }
}
