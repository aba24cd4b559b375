//! 410 Gone: the API server has forgotten the version of the pods at which the agent's watch broke off.

use anyhow::{Context, Result, ensure};
use probe_tests::{
    cluster::{Cluster, Namespace},
    metrics::{Role, Series},
};

use crate::{
    names::{pod_of, requests},
    objects,
    on_node::Agent,
};

/// Has etcd forget all that every key was before now, and returns the revision of now.
fn compact(cluster: &Cluster) -> Result<u64> {
    let ask = |what: &str, content: &str| -> Result<serde_json::Value> {
        let address = format!("http://127.0.0.1:2379/v3/{what}");
        Ok(serde_json::from_str(&cluster.run(&["curl", "-sSf", "-X", "POST", "-d", content, &address])?)?)
    };
    // etcd writes its 64-bit numbers as text.
    let revision = ask("kv/range", r#"{"key":"eA=="}"#)?["header"]["revision"]
        .as_str()
        .context("etcd tells no revision")?
        .parse()?;
    ask("kv/compaction", &format!(r#"{{"revision":"{revision}","physical":true}}"#))?;
    Ok(revision)
}

#[test]
fn a_watch_from_a_version_that_is_gone_begins_anew() -> Result<()> {
    const SPACE: &str = "versions";
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, SPACE)?;
    for workload in ["caller", "stays", "goes"] {
        let object = if workload == "caller" { objects::idle(workload) } else { objects::nginx(workload, 1) };
        shop.apply(&object)?;
    }
    let [caller, stays, goes] = ["caller", "stays", "goes"].map(|workload| pod_of(&cluster, &shop, workload));
    let (caller, stays, goes) = (caller?, stays?, goes?);
    let agent = Agent::start(&cluster, SPACE)?;
    let served = |workload: &str, pod: &str| requests(SPACE, workload, pod, "nginx", Role::Server);
    shop.send(&caller.name, "load", &stays.address, 30, 2)?;
    shop.send(&caller.name, "load", &goes.address, 40, 2)?;
    agent.counts(&[(served("stays", &stays.name), 30), (served("goes", &goes.name), 40)])?;

    // What happens while it hears nothing: one pod goes, another comes, and a third is given a label.
    agent.stop()?;
    shop.kubectl(&["delete", "deployment", "goes", "--wait=true", "--cascade=foreground"])?;
    shop.kubectl(&["label", "pod", &stays.name, "changed=yes"])?;
    shop.apply(&objects::nginx("comes", 1))?;
    let comes = pod_of(&cluster, &shop, "comes")?;
    shop.send(&caller.name, "load", &comes.address, 50, 2)?;
    shop.send(&caller.name, "load", &stays.address, 60, 2)?;
    // Its watch breaks off with the API server's end, and the next one cannot tell what it missed.
    cluster.stop("kube-apiserver")?;
    let revision = compact(&cluster)?;
    cluster.start("kube-apiserver")?;
    cluster.until("the API server to be back", || Ok(cluster.kubectl(&["get", "--raw", "/readyz"]).ok()))?;
    agent.go_on()?;

    agent.says("the watch on pods begins anew")?;
    let log = agent.log()?;
    let line = log.lines().find(|line| line.contains("the watch on pods begins anew")).unwrap_or_default();
    println!("etcd was compacted at revision {revision}; the agent: {line}");
    ensure!(line.contains("too old"), "not for the reason of this test: {line}");
    agent.counts(&[
        (served("stays", &stays.name), 90),
        (served("goes", &goes.name), 40),
        (served("comes", &comes.name), 50),
        (requests(SPACE, "caller", &caller.name, "load", Role::Client), 180),
        (Series::requests(80, Role::Server).with("namespace", SPACE), 180),
    ])?;
    // And it hears again what happens.
    shop.apply(&objects::nginx("late", 1))?;
    let late = pod_of(&cluster, &shop, "late")?;
    shop.send(&caller.name, "load", &late.address, 20, 2)?;
    agent.counts(&[(served("late", &late.name), 20)])
}
