//! Every request is counted under the namespace, workload, pod and container that served it, and those that sent it.

use anyhow::{Context, Result};
use probe_tests::{
    cluster::{Cluster, Namespace, Pod, Release},
    metrics::{Role, Series},
};

use crate::objects;

/// The requests of a pod's container.
pub fn requests(namespace: &str, workload: &str, pod: &str, container: &str, role: Role) -> Series {
    Series::requests(80, role)
        .with("service", workload)
        .with("namespace", namespace)
        .with("workload", workload)
        .with("pod", pod)
        .with("container", container)
        .with("node", "node1")
        .with("status", "200")
}

fn served(namespace: &Namespace<'_>, pod: &Pod) -> Series {
    requests(namespace.name, "web", &pod.name, "nginx", Role::Server)
}

/// The only pod of a Deployment.
pub fn pod_of(cluster: &Cluster, namespace: &Namespace<'_>, workload: &str) -> Result<Pod> {
    namespace.kubectl(&["rollout", "status", &format!("deployment/{workload}"), "--timeout=120s"])?;
    let pods = cluster.pods(namespace.name, &format!("app={workload}"))?;
    pods.into_iter().next().with_context(|| format!("{workload} has no pod"))
}

#[test]
fn requests_of_each_pod_are_exact_in_both_roles() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "shop")?;
    shop.apply(&objects::nginx("web", 2))?;
    shop.apply(&objects::idle("caller"))?;
    let caller = pod_of(&cluster, &shop, "caller")?;
    shop.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"])?;
    let pods = cluster.pods("shop", "app=web")?;
    let _probe = Release::install(&cluster, &[])?;

    let mut expected = Vec::new();
    for (pod, count) in pods.iter().zip([300, 700]) {
        shop.send(&caller.name, "load", &pod.address, count, 5)?;
        expected.push((served(&shop, pod), count));
    }
    expected.push((requests("shop", "caller", &caller.name, "load", Role::Client), 1000));
    expected.push((Series::requests(80, Role::Server).with("namespace", "shop"), 1000));
    cluster.counts(&expected)?;

    // More pods, and then others in their place: what was counted stays under the names of those that served it.
    shop.kubectl(&["scale", "deployment/web", "--replicas=3"])?;
    shop.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"])?;
    let third = cluster
        .pods("shop", "app=web")?
        .into_iter()
        .find(|pod| !pods.contains(pod))
        .context("a third pod")?;
    shop.send(&caller.name, "load", &third.address, 200, 5)?;
    expected.push((served(&shop, &third), 200));
    shop.kubectl(&["rollout", "restart", "deployment/web"])?;
    shop.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"])?;
    let mut known: Vec<_> = pods.clone();
    known.push(third);
    for pod in cluster.pods("shop", "app=web")?.into_iter().filter(|pod| !known.contains(pod)) {
        shop.send(&caller.name, "load", &pod.address, 100, 5)?;
        expected.push((served(&shop, &pod), 100));
    }
    expected[2].1 = 1500;
    expected[3].1 = 1500;
    cluster.counts(&expected)
}

#[test]
fn a_job_that_is_done_in_a_moment_keeps_its_name() -> Result<()> {
    let cluster = Cluster::find()?;
    let batch = Namespace::create(&cluster, "batch")?;
    batch.apply(&objects::nginx("web", 1))?;
    let web = pod_of(&cluster, &batch, "web")?;
    let _probe = Release::install(&cluster, &[])?;
    let mut expected = Vec::new();
    for (name, count) in [("first", 50), ("second", 70), ("third", 90)] {
        batch.apply(&objects::job(name, &web.address, count))?;
        batch.kubectl(&["wait", "--for=condition=complete", &format!("job/{name}"), "--timeout=120s"])?;
        let logs = batch.kubectl(&["logs", &format!("job/{name}")])?;
        anyhow::ensure!(logs.contains(&format!(" {count} succeeded, 0 failed")), "{logs}");
        let pods = batch.kubectl(&[
            "get",
            "pods",
            "-l",
            &format!("app={name}"),
            "-o",
            "jsonpath={.items[0].metadata.name}",
        ])?;
        expected.push((requests("batch", name, pods.trim(), "sends", Role::Client), u64::from(count)));
        // Gone before anybody asked who it was.
        batch.kubectl(&["delete", "job", name, "--wait=true"])?;
    }
    expected.push((served(&batch, &web), 210));
    cluster.counts(&expected)
}
