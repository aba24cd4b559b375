//! Workloads of other kinds, and a server whose requests are not read.

use anyhow::{Context, Result, ensure};
use probe_tests::{
    cluster::{Cluster, Namespace, Pod, Release},
    metrics::{Role, Series},
};

use crate::{
    names::{pod_of, requests},
    objects,
};

#[test]
fn pods_of_a_stateful_set_keep_their_names_over_a_restart() -> Result<()> {
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "stateful")?;
    shop.apply(&objects::stateful_nginx("db", 2))?;
    shop.apply(&objects::idle("caller"))?;
    let caller = pod_of(&cluster, &shop, "caller")?;
    let _probe = Release::install(&cluster, &[])?;
    let served = |pod: &str| requests("stateful", "db", pod, "nginx", Role::Server);
    let pods = || -> Result<Vec<Pod>> {
        shop.kubectl(&["rollout", "status", "statefulset/db", "--timeout=120s"])?;
        cluster.pods("stateful", "app=db")
    };
    let send = |pods: Vec<Pod>| -> Result<()> {
        for (name, count) in [("db-0", 40), ("db-1", 60)] {
            let pod = pods.iter().find(|pod| pod.name == name).with_context(|| format!("no {name}"))?;
            shop.send(&caller.name, "load", &pod.address, count, 2)?;
        }
        Ok(())
    };
    send(pods()?)?;
    let expect = |times: u64| {
        let of_caller = requests("stateful", "caller", &caller.name, "load", Role::Client);
        cluster.counts(&[
            (served("db-0"), 40 * times),
            (served("db-1"), 60 * times),
            (of_caller, 100 * times),
        ])
    };
    expect(1)?;
    // Other pods by the same names: their requests go on in the same series.
    shop.kubectl(&["rollout", "restart", "statefulset/db"])?;
    send(pods()?)?;
    expect(2)
}

#[test]
fn a_cron_job_is_the_workload_of_its_jobs_pods() -> Result<()> {
    let cluster = Cluster::find()?;
    let nightly = Namespace::create(&cluster, "nightly")?;
    nightly.apply(&objects::nginx("web", 1))?;
    let web = pod_of(&cluster, &nightly, "web")?;
    let _probe = Release::install(&cluster, &[])?;
    nightly.apply(&objects::cron_job("backup", &web.address, 30))?;
    // By the controller's clock, at the next full minute.
    let pod = cluster.until("the CronJob's pod to be done", || {
        let format =
            "jsonpath={range .items[?(@.status.phase==\"Succeeded\")]}{.metadata.name}{\"\\n\"}{end}";
        let done = nightly.kubectl(&["get", "pods", "-l", "app=backup", "-o", format])?;
        Ok(done.lines().next().map(str::to_owned))
    })?;
    let web_logs = nightly.kubectl(&["logs", &web.name, "-c", "nginx"])?;
    nightly.kubectl(&["delete", "cronjob", "backup", "--wait=true"])?;
    ensure!(web_logs.lines().count() >= 30, "nginx served {} requests", web_logs.lines().count());
    cluster.counts(&[(requests("nightly", "backup", &pod, "sends", Role::Client), 30)])
}

#[test]
fn bytes_and_connections_of_redis_are_those_that_redis_tells() -> Result<()> {
    let cluster = Cluster::find()?;
    let store = Namespace::create(&cluster, "store")?;
    store.apply(&objects::redis("cache"))?;
    store.apply(&objects::idle("caller"))?;
    let (cache, caller) = (pod_of(&cluster, &store, "cache")?, pod_of(&cluster, &store, "caller")?);
    let _probe = Release::install(&cluster, &[])?;
    let of = |program: &str, arguments: &[&str]| {
        let command = ["exec", &caller.name, "-c", "load", "--", program, "-h", &cache.address];
        store.kubectl(&[&command[..], arguments].concat())
    };
    of("redis-benchmark", &["-q", "-n", "2000", "-c", "7", "-d", "500", "-t", "set,get"])?;
    let told = of("redis-cli", &["INFO", "stats"])?;
    let field = |name: &str| -> Result<u64> {
        let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {name} in {told}"))?.trim().parse()?)
    };
    // What it says of itself is not yet sent when it counts: a bulk string, behind its length, which redis-cli
    // prints as it is.
    let reply = format!("${}\r\n{told}\r\n", told.len()).len() as u64;
    let (connections, received) = (field("total_connections_received")?, field("total_net_input_bytes")?);
    let sent = field("total_net_output_bytes")? + reply;
    ensure!(connections >= 15 && received > 1_000_000, "{told}");
    let of_pod = |series: Series, workload: &str, pod: &str, container: &str| {
        series
            .with("service", workload)
            .with("namespace", "store")
            .with("workload", workload)
            .with("pod", pod)
            .with("container", container)
    };
    let mut expected = Vec::new();
    for (role, workload, pod, container, [receive, transmit]) in [
        (Role::Server, "cache", &cache, "redis", [received, sent]),
        (Role::Client, "caller", &caller, "load", [sent, received]),
    ] {
        let series = |name| of_pod(Series::at(name, 6379, role), workload, &pod.name, container);
        expected.push((series("traffic_connections_opened_total"), connections));
        expected.push((series("traffic_connections_closed_total"), connections));
        expected.push((series("traffic_bytes_total").with("direction", "receive"), receive));
        expected.push((series("traffic_bytes_total").with("direction", "transmit"), transmit));
    }
    cluster.counts(&expected)
}
