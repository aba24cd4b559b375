//! With whom services talk, by pods and services of the cluster: from `EndpointSlices`, with the rights that the chart gives.

use anyhow::{Result, ensure};
use probe_tests::{
    cluster::{Cluster, Namespace, RELEASE, Release},
    metrics::{Role, Series},
};

use crate::{names::pod_of, objects};

const REQUESTS: &str = "traffic_peer_requests_total";

fn requests(namespace: &str, workload: &'static str, role: Role) -> Series {
    Series::at(REQUESTS, 80, role).with("namespace", namespace).with("workload", workload)
}

#[test]
fn a_peer_is_the_pod_behind_a_service_that_has_its_address() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "peers")?;
    for manifest in
        [objects::nginx("web", 1), objects::service("web"), objects::idle("caller"), objects::idle("worker")]
    {
        shop.apply(&manifest)?;
    }
    shop.apply(&objects::service("worker"))?;
    let (web, caller, worker) = (
        pod_of(&cluster, &shop, "web")?,
        pod_of(&cluster, &shop, "caller")?,
        pod_of(&cluster, &shop, "worker")?,
    );
    let _probe = Release::install(&cluster, &["peers.enabled=true", "peers.endpointSlices=true"])?;
    cluster.until("the agent to be told of services", || {
        let log = cluster.log()?;
        Ok((log.contains("tells of the endpointslices") && log.contains("tells of the services"))
            .then_some(()))
    })?;
    shop.send(&caller.name, "load", &web.address, 300, 3)?;
    shop.send(&worker.name, "load", &web.address, 200, 2)?;
    let of_web = |series: Series| {
        series
            .with("peer", &web.address)
            .with("peer_namespace", "peers")
            .with("peer_pod", &web.name)
            .with("peer_service", "web")
    };
    let served = || requests("peers", "web", Role::Server);
    cluster.counts(&[
        (of_web(requests("peers", "caller", Role::Client)), 300),
        (of_web(requests("peers", "worker", Role::Client)), 200),
        (
            served()
                .with("peer", &worker.address)
                .with("peer_pod", &worker.name)
                .with("peer_service", "worker"),
            200,
        ),
        // It is behind no service, so that nothing tells of it.
        (served().with("peer", &caller.address).with("peer_pod", "").with("peer_service", ""), 300),
        (served(), 500),
    ])
}

#[test]
fn without_the_right_peers_go_by_their_address_and_it_is_said() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "peerless")?;
    for manifest in [objects::nginx("web", 1), objects::service("web"), objects::idle("caller")] {
        shop.apply(&manifest)?;
    }
    let (web, caller) = (pod_of(&cluster, &shop, "web")?, pod_of(&cluster, &shop, "caller")?);
    // The flag alone gives the service account no right.
    let _probe = Release::install(&cluster, &["flags={--peers,--peers-from=endpointslices}"])?;
    let may = ["auth", "can-i", "list", "endpointslices.discovery.k8s.io", "--all-namespaces"];
    let account = format!("--as=system:serviceaccount:{RELEASE}:traffic-probe");
    ensure!(cluster.kubectl(&[&may[..], &[&account]].concat()).is_err(), "it has the right");
    cluster.until("the agent to say what it misses", || {
        Ok(cluster.log()?.contains("denies access to endpointslices").then_some(()))
    })?;
    shop.send(&caller.name, "load", &web.address, 100, 2)?;
    let of_caller = requests("peerless", "caller", Role::Client).with("peer", &web.address);
    cluster.counts(&[(of_caller.with("peer_service", ""), 100)])
}
