//! Installed by the chart: what the agent may do, what it loses over an upgrade, and what it leaves.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    bpf::Footprint,
    cluster::{Cluster, Namespace, RELEASE, Release},
    metrics::Role,
};

use crate::{
    names::{pod_of, requests},
    objects,
};

/// The bits of `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF`.
const GRANTED: u64 = 1 << 12 | 1 << 38 | 1 << 39;

/// The agent's process: PIDs are the machine's.
fn agent(cluster: &Cluster) -> Result<u32> {
    let uid = cluster.kubectl(&["-n", RELEASE, "get", "pods", "-o", "jsonpath={.items[0].metadata.uid}"])?;
    let is_agent = |process: u32| {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        read("comm").trim() == "traffic-probe" && read("cgroup").contains(uid.trim())
    };
    let processes = fs::read_dir("/proc")?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find(|process| is_agent(*process)).context("the agent's process is not found")
}

fn status(process: u32, field: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let value =
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).context("no such field")?;
    Ok(u64::from_str_radix(value.trim(), 16)?)
}

/// The threads of a process, by name, with their capabilities.
fn threads(process: u32) -> Result<Vec<(String, u64)>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))?.flatten();
    tasks
        .map(|task| {
            let name = fs::read_to_string(task.path().join("comm"))?.trim().to_owned();
            let number = task.file_name().to_string_lossy().parse()?;
            Ok((name, status(number, "CapEff")?))
        })
        .collect()
}

/// What is pinned on the node, but for two files that the kernel puts into every bpffs.
fn pinned(cluster: &Cluster) -> Result<String> {
    cluster.run(&["find", "/sys/fs/bpf", "-mindepth", "1", "!", "-name", "*.debug"])
}

#[test]
fn the_agent_has_the_listed_capabilities_and_no_others() -> Result<()> {
    let cluster = Cluster::find()?;
    let probe = Release::install(&cluster, &[])?;
    let process = agent(&cluster)?;
    ensure!(status(process, "CapBnd")? == GRANTED, "{:x}", status(process, "CapBnd")?);
    ensure!(status(process, "CapPrm")? & !GRANTED == 0, "{:x}", status(process, "CapPrm")?);
    // What faces the network, and the API server, has none; what counts has all three.
    for (thread, kept) in threads(process)? {
        let expected = if thread.starts_with("tokio") { 0 } else { GRANTED };
        ensure!(kept == expected, "{thread} has {kept:x}");
    }
    ensure!(status(process, "NoNewPrivs")? == 1 && status(process, "Seccomp")? == 2, "a filter is in force");
    let footprint = Footprint::of(process)?;
    ensure!(footprint.programs.len() > 5, "{footprint:?}");
    ensure!(!pinned(&cluster)?.is_empty(), "an upgrade is to lose nothing");
    probe.uninstall()?;
    ensure!(pinned(&cluster)?.is_empty(), "{}", pinned(&cluster)?);
    footprint.is_gone()
}

#[test]
fn without_one_of_them_it_says_which() -> Result<()> {
    let cluster = Cluster::find()?;
    let _probe = Release::install(&cluster, &[])?;
    for missing in ["BPF", "NET_ADMIN", "PERFMON"] {
        let others: Vec<_> =
            ["BPF", "NET_ADMIN", "PERFMON"].into_iter().filter(|other| *other != missing).collect();
        let patch = format!(
            r#"[{{"op":"replace","path":"/spec/template/spec/containers/0/securityContext/capabilities/add","value":{others:?}}}]"#
        );
        cluster.kubectl(&["-n", RELEASE, "patch", "daemonset", RELEASE, "--type=json", "-p", &patch])?;
        let sentence = format!("lacks CAP_{missing}:");
        cluster.until(&format!("`{sentence}`"), || {
            Ok(cluster.log().ok().filter(|log| log.contains(&sentence)).map(drop))
        })?;
    }
    Ok(())
}

#[test]
fn an_upgrade_under_load_loses_no_request() -> Result<()> {
    // Of each client fewer than nginx takes over a connection.
    const REQUESTS: u64 = 6000;
    let cluster = Cluster::find()?;
    let shop = Namespace::create(&cluster, "upgrade")?;
    shop.apply(&objects::nginx("web", 1))?;
    shop.apply(&objects::idle("caller"))?;
    let (web, caller) = (pod_of(&cluster, &shop, "web")?, pod_of(&cluster, &shop, "caller")?);
    let probe = Release::install(&cluster, &[])?;
    let before = agent(&cluster)?;
    thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| shop.send_at(&caller.name, "load", &web.address, REQUESTS, 10, 50));
        thread::sleep(Duration::from_secs(2));
        probe.upgrade(&["podAnnotations.changed=yes"])?;
        ensure!(agent(&cluster)? != before, "it was not replaced");
        ensure!(!load.is_finished(), "the load was over before the upgrade was");
        load.join().expect("the load")
    })?;
    cluster.counts(&[
        (requests("upgrade", "web", &web.name, "nginx", Role::Server), REQUESTS),
        (requests("upgrade", "caller", &caller.name, "load", Role::Client), REQUESTS),
    ])
}
