//! Containers that end badly: what they did stays counted, and so does what their successors do.

use anyhow::{Result, ensure};
use probe_tests::{
    cluster::{Cluster, Namespace, Pod, Release},
    metrics::Role,
};

use crate::{
    names::{pod_of, requests},
    objects,
};

/// A field of the status of a pod's first container.
fn status(namespace: &Namespace<'_>, pod: &Pod, field: &str) -> Result<String> {
    let format = format!("jsonpath={{.status.containerStatuses[0].{field}}}");
    Ok(namespace.kubectl(&["get", "pod", &pod.name, "-o", &format])?.trim().to_owned())
}

#[test]
fn a_container_that_was_killed_for_its_memory_counts_on_under_its_name() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "memory")?;
    shop.apply(&objects::greedy("web"))?;
    shop.apply(&objects::idle("caller"))?;
    let (web, caller) = (pod_of(&cluster, &shop, "web")?, pod_of(&cluster, &shop, "caller")?);
    let _probe = Release::install(&cluster, &[])?;
    shop.send(&caller.name, "load", &web.address, 120, 3)?;
    shop.kubectl(&["exec", &web.name, "--", "sh", "-c", ": > /tmp/full"])?;
    cluster.until("the kernel to kill it", || {
        // By SIGKILL, which nobody else sends it; containerd does not hear the reason on every hierarchy of cgroups.
        let exit = status(&shop, &web, "lastState.terminated.exitCode")?;
        Ok((exit == "137" && status(&shop, &web, "ready")? == "true").then_some(()))
    })?;
    // nginx is a moment later than the shell that starts it.
    cluster.until("its successor to serve", || {
        let curl = ["curl", "-sS", "-o", "/dev/null", "--fail", &format!("http://{}/fails", web.address)];
        Ok(cluster.run(&curl).err().filter(|error| format!("{error:#}").contains("503")))
    })?;
    shop.send(&caller.name, "load", &web.address, 80, 3)?;
    cluster.counts(&[
        (requests("memory", "web", &web.name, "nginx", Role::Server), 200),
        (requests("memory", "caller", &caller.name, "load", Role::Client), 200),
    ])
}

#[test]
fn every_run_of_a_container_that_crashes_is_counted() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "crashes")?;
    shop.apply(&objects::nginx("web", 1))?;
    let web = pod_of(&cluster, &shop, "web")?;
    let _probe = Release::install(&cluster, &[])?;
    shop.apply(&objects::crashing("crasher", &web.address, 25))?;
    let format = "jsonpath={.items[0].metadata.name} {.items[0].status.containerStatuses[0].restartCount} \
                  {.items[0].status.containerStatuses[0].state.running.startedAt}";
    let crasher = cluster.until("two restarts", || {
        let said = shop.kubectl(&["get", "pods", "-l", "app=crasher", "-o", format]).unwrap_or_default();
        match said.split_whitespace().collect::<Vec<_>>()[..] {
            // It is between two runs, the next of which is seconds away. The kubelet need not say `CrashLoopBackOff` then: it
            // leaves the last run's end as the state until it looks at the pod again.
            [pod, restarts] if restarts.parse::<u32>()? >= 2 => Ok(Some(pod.to_owned())),
            _ => Ok(None),
        }
    })?;
    shop.kubectl(&["delete", "deployment", "crasher", "--wait=true", "--cascade=foreground"])?;
    // nginx's own account.
    let served = shop.kubectl(&["logs", &web.name, "-c", "nginx"])?.lines().count() as u64;
    ensure!(served >= 75 && served.is_multiple_of(25), "nginx served {served}");
    cluster.counts(&[
        (requests("crashes", "web", &web.name, "nginx", Role::Server), served),
        (requests("crashes", "crasher", &crasher, "sends", Role::Client), served),
    ])
}
