//! A second opinion on what is in the kernel: bpftool and tc.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{netns::Netns, poll, process, tool};

const LIMIT: Duration = Duration::from_secs(10);

/// What a process holds in the kernel, by the kinds of bpftool. By id, not by name: the agents of other tests have
/// programs of the same names at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Links.
    pub links: BTreeSet<u64>,
    /// Maps.
    pub maps: BTreeSet<u64>,
}

impl Footprint {
    /// Reads it from the descriptors of a process.
    pub fn of(process: u32) -> Result<Self> {
        let directory = Path::new("/proc").join(process.to_string()).join("fdinfo");
        let mut footprint = Self::default();
        for entry in fs::read_dir(&directory).with_context(|| format!("{}", directory.display()))? {
            // A descriptor of the agent may be closed in between.
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            for line in text.lines() {
                let (kind, id) = line.split_once(':').unwrap_or_default();
                let kind = match kind {
                    "prog_id" => &mut footprint.programs,
                    "link_id" => &mut footprint.links,
                    "map_id" => &mut footprint.maps,
                    _ => continue,
                };
                kind.insert(id.trim().parse()?);
            }
        }
        Ok(footprint)
    }

    /// Adds what another process holds.
    pub fn add(&mut self, other: &Self) {
        self.programs.extend(&other.programs);
        self.links.extend(&other.links);
        self.maps.extend(&other.maps);
    }

    /// Waits until none of it is listed any more: the kernel frees after a grace period, not at once.
    pub fn is_gone(&self) -> Result<()> {
        for (kind, ids) in [("prog", &self.programs), ("link", &self.links), ("map", &self.maps)] {
            poll::until(&format!("every {kind} of {ids:?} to go"), || {
                // bpftool gives up where something goes while it lists, as that of other tests may: look again.
                Ok(ids_of(kind).ok().filter(|left| left.is_disjoint(ids)).map(drop))
            })?;
        }
        Ok(())
    }
}

/// The ids of everything of a kind that is in the kernel.
fn ids_of(kind: &str) -> Result<BTreeSet<u64>> {
    let listed = show(&mut tool::command("bpftool")?, kind)?;
    let ids = listed.as_array().into_iter().flatten();
    Ok(ids.filter_map(|one| one["id"].as_u64()).collect())
}

/// How many interfaces a process has links to, by direction. From the kernel's own account of its descriptors, since
/// Debian 12's bpftool does not know TCX.
pub fn tcx_links(process: u32) -> Result<BTreeMap<String, usize>> {
    let directory = Path::new("/proc").join(process.to_string()).join("fdinfo");
    let mut links = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("{}", directory.display()))? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        if field("link_type") == Some("tcx") {
            // `attach_type: 46 (ingress)`
            let way = field("attach_type").and_then(|way| way.split_once('(')).unwrap_or_default().1;
            *links.entry(way.trim_end_matches(')').to_owned()).or_default() += 1;
        }
    }
    Ok(links)
}

/// How many entries a map of a process has, by the map's name.
pub fn entries(footprint: &Footprint, name: &str) -> Result<usize> {
    let listed = show(&mut tool::command("bpftool")?, "map")?;
    let map = listed.as_array().into_iter().flatten().find(|map| {
        map["name"].as_str() == Some(name)
            && map["id"].as_u64().is_some_and(|id| footprint.maps.contains(&id))
    });
    let id = map.with_context(|| format!("the process has no map {name}"))?["id"].to_string();
    let mut bpftool = tool::command("bpftool")?;
    let dumped = process::run_well(bpftool.args(["--json", "map", "dump", "id", &id]), LIMIT)?;
    let entries: Vec<Value> = serde_json::from_str(&dumped).context("bpftool map dump")?;
    Ok(entries.len())
}

/// How many descriptors a process has open.
pub fn descriptors(process: u32) -> Result<usize> {
    Ok(fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd"))?.count())
}

/// The programs that a network namespace's interfaces have by netlink, by name: those of TC and of XDP.
pub fn on_interfaces(netns: &Netns) -> Result<Vec<String>> {
    let listed = show(&mut netns.command("bpftool")?, "net")?;
    let mut names = Vec::new();
    for group in listed.as_array().into_iter().flatten() {
        for kind in ["xdp", "tc"] {
            for program in group[kind].as_array().into_iter().flatten() {
                names.push(program["name"].as_str().unwrap_or(kind).to_owned());
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What `tc` says of the queues of a network namespace's interfaces.
pub fn queues(netns: &Netns) -> Result<String> {
    process::run_well(netns.command("tc")?.args(["qdisc", "show"]), LIMIT)
}

fn show(bpftool: &mut std::process::Command, kind: &str) -> Result<Value> {
    let listed = process::run_well(bpftool.args(["--json", kind, "show"]), LIMIT)?;
    if listed.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&listed).with_context(|| format!("bpftool {kind} show: {listed}"))
}
