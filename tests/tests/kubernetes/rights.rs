//! The rights that the chart grants: each verb is taken away in its turn, and missed. So none is granted that is not used.

use anyhow::{Result, ensure};
use probe_tests::{
    cluster::{Cluster, Namespace, RELEASE, Release},
    metrics::{Role, Series},
};
use serde_json::Value;

use crate::{
    names::{pod_of, requests},
    objects,
};

/// Has a role grant these verbs and no others.
fn grant(cluster: &Cluster, role: &str, verbs: &[&str]) -> Result<()> {
    let patch = format!(r#"[{{"op":"replace","path":"/rules/0/verbs","value":{verbs:?}}}]"#);
    cluster.kubectl(&["-n", RELEASE, "patch", role, RELEASE, "--type=json", "-p", &patch]).map(drop)
}

/// Has an agent begin that never had other rights than those of now.
fn restart(cluster: &Cluster) -> Result<()> {
    let label = format!("app.kubernetes.io/name={RELEASE}");
    cluster.kubectl(&["-n", RELEASE, "delete", "pod", "-l", &label, "--wait=true"])?;
    cluster.rolled_out(RELEASE, &format!("daemonset/{RELEASE}"))
}

fn says(cluster: &Cluster, what: &str) -> Result<()> {
    cluster.until(&format!("the agent to say `{what}`"), || Ok(cluster.log()?.contains(what).then_some(())))
}

/// The requests of a Deployment that comes now, of which the agent can only hear by the right that is at stake.
fn newcomer(cluster: &Cluster, shop: &Namespace<'_>, name: &str, count: u64) -> Result<(Series, Series)> {
    shop.apply(&objects::nginx(name, 1))?;
    let pod = pod_of(cluster, shop, name)?;
    let uid = shop.kubectl(&["get", "pod", &pod.name, "-o", "jsonpath={.metadata.uid}"])?;
    shop.send(&pod.name, "idle", &pod.address, count, 1)?;
    let named = requests(shop.name, name, &pod.name, "nginx", Role::Server);
    Ok((named, Series::requests(80, Role::Server).with("pod", uid.trim())))
}

#[test]
fn all_rights_are_those_whose_loss_is_tested_here() -> Result<()> {
    let cluster = Cluster::find()?;
    let _probe = Release::install(&cluster, &[])?;
    let granted = |role: &str| -> Result<Vec<String>> {
        let said = cluster.kubectl(&["-n", RELEASE, "get", role, RELEASE, "-o", "json"])?;
        let object: Value = serde_json::from_str(&said)?;
        let rules = object["rules"].as_array().into_iter().flatten();
        let rights = rules.flat_map(|rule| {
            let of = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
            let resources = of("resources");
            let verbs = of("verbs");
            let pair = |resource: &Value| {
                let resource = resource.as_str().unwrap_or_default().to_owned();
                verbs
                    .iter()
                    .map(move |verb| format!("{} {resource}", verb.as_str().unwrap_or_default()))
                    .collect::<Vec<_>>()
            };
            resources.iter().flat_map(pair).collect::<Vec<_>>()
        });
        Ok(rights.collect())
    };
    let (everywhere, here) = (granted("clusterrole")?, granted("role")?);
    ensure!(everywhere == ["list pods", "watch pods"], "{everywhere:?}");
    ensure!(here == ["get daemonsets"], "{here:?}");
    Ok(())
}

#[test]
fn without_list_or_watch_pods_that_come_have_no_names() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "rights")?;
    for (missing, left) in [("list", "watch"), ("watch", "list")] {
        let _probe = Release::install(&cluster, &[])?;
        grant(&cluster, "clusterrole", &[left])?;
        restart(&cluster)?;
        says(&cluster, "denies access to pods")?;
        let (named, by_uid) = newcomer(&cluster, &shop, &format!("without-{missing}"), 10)?;
        cluster.counts(&[(by_uid.clone(), 10), (named.clone(), 0)])?;
        // With the right back, it names again, without a restart; what was named before keeps its name.
        grant(&cluster, "clusterrole", &["list", "watch"])?;
        shop.apply(&objects::idle(&format!("herald-{missing}")))?;
        says(&cluster, "from the Kubernetes API server again")?;
        let (back, _) = newcomer(&cluster, &shop, &format!("with-{missing}"), 20)?;
        cluster.counts(&[(by_uid, 10), (named, 0), (back, 20)])?;
    }
    Ok(())
}

#[test]
fn without_get_an_agent_that_is_uninstalled_leaves_what_it_pinned_and_says_so() -> Result<()> {
    const PINS: &str = "/sys/fs/bpf/traffic-probe";
    let cluster = Cluster::find()?;
    let probe = Release::install(&cluster, &[])?;
    grant(&cluster, "role", &["list"])?;
    restart(&cluster)?;
    says(&cluster, "(Refused): if it is uninstalled, the pinned state stays")?;
    probe.uninstall()?;
    let left = cluster.run(&["find", PINS, "-mindepth", "1"])?;
    ensure!(!left.is_empty(), "nothing is left: then what is the right for?");
    let agent = probe_tests::tool::agent()?.display().to_string();
    // What the log told to do.
    cluster.run(&[&agent, "detach", "--pin", PINS])?;
    let left = cluster.run(&["find", "/sys/fs/bpf", "-mindepth", "1", "!", "-name", "*.debug"])?;
    ensure!(left.is_empty(), "{left}");
    Ok(())
}
