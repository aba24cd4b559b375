//! The API server, as it is there, not there, and back.

use anyhow::Result;
use probe_tests::{
    cluster::{Cluster, Namespace, Release},
    metrics::{Role, Series},
};

use crate::{
    names::{pod_of, requests},
    objects,
};

#[test]
fn without_an_api_server_the_path_and_the_process_name() -> Result<()> {
    let cluster = Cluster::find()?;
    let alone = Namespace::create(&cluster, "alone")?;
    alone.apply(&objects::nginx("web", 1))?;
    let web = pod_of(&cluster, &alone, "web")?;
    let uid = alone.kubectl(&["get", "pod", &web.name, "-o", "jsonpath={.metadata.uid}"])?;
    let _probe = Release::install(&cluster, &["kubernetes.api=false"])?;
    alone.send(&web.name, "idle", &web.address, 100, 2)?;
    let by_path = |role, service: &str| {
        Series::requests(80, role).with("service", service).with("pod", uid.trim()).with("node", "node1")
    };
    // nginx's socket is older than the probe, and its process is in another PID namespace: its container's id serves.
    cluster.counts(&[(by_path(Role::Client, "h2load"), 100)])?;
    let scrape = cluster.scrape()?;
    let servers = Series::requests(80, Role::Server).with("pod", uid.trim());
    anyhow::ensure!((scrape.sum(&servers) - 100.0).abs() < 0.1, "{}", scrape.text);
    anyhow::ensure!(scrape.values(&servers, "namespace").is_empty(), "who would have told?");
    anyhow::ensure!(
        cluster.log()?.matches("no credentials for the Kubernetes API server").count() == 1,
        "{}",
        cluster.log()?
    );
    Ok(())
}

#[test]
fn an_api_server_that_is_killed_and_comes_back_goes_on_telling() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "outage")?;
    shop.apply(&objects::nginx("web", 1))?;
    shop.apply(&objects::idle("caller"))?;
    let web = pod_of(&cluster, &shop, "web")?;
    let caller = pod_of(&cluster, &shop, "caller")?;
    let _probe = Release::install(&cluster, &[])?;
    shop.send(&caller.name, "load", &web.address, 100, 2)?;
    let served = requests("outage", "web", &web.name, "nginx", Role::Server);
    cluster.counts(&[(served.clone(), 100)])?;

    cluster.stop("kube-apiserver")?;
    // What serves is still known, and what calls is the node's own.
    let from_node = ["h2load", "--h1", "-n", "30", "-c", "2", &format!("http://{}/", web.address)];
    cluster.run(&from_node)?;
    let of_node = Series::requests(80, Role::Client).with("service", "h2load").with("node", "node1");
    cluster.counts(&[(served.clone(), 130), (of_node, 30)])?;
    cluster.start("kube-apiserver")?;
    cluster.until("the API server to be back", || Ok(cluster.kubectl(&["get", "--raw", "/readyz"]).ok()))?;
    cluster.until("the agent to be told again", || {
        Ok(cluster.log()?.contains("from the Kubernetes API server again").then_some(()))
    })?;
    anyhow::ensure!(
        cluster.log()?.matches("cannot be reached").count() == 1,
        "it is said once: {}",
        cluster.log()?
    );
    shop.apply(&objects::nginx("late", 1))?;
    let late = pod_of(&cluster, &shop, "late")?;
    shop.send(&caller.name, "load", &web.address, 50, 2)?;
    shop.send(&caller.name, "load", &late.address, 60, 2)?;
    cluster.counts(&[
        (served, 180),
        (requests("outage", "late", &late.name, "nginx", Role::Server), 60),
        (requests("outage", "caller", &caller.name, "load", Role::Client), 210),
    ])
}
