//! What services and the node use.

use super::{family::Family, names};
use crate::resources::{Resources, known, node::NodeUse};

/// The periods of the load averages.
const PERIODS: [&str; 3] = ["1m", "5m", "15m"];

pub(super) fn families(resources: &Resources) -> Vec<Family> {
    let mut cpu = Family::new(&names::SERVICE_CPU);
    let mut memory = Family::new(&names::SERVICE_MEMORY);
    let mut pressure = Family::new(&names::SERVICE_PRESSURE);
    for (service, used) in &resources.services {
        if let Some(time) = used.cpu {
            cpu.add(&[service], time.as_secs_f64());
        }
        if let Some(bytes) = used.memory {
            memory.add(&[service], bytes as f64);
        }
        for (resource, extent, time) in known(&used.stalls) {
            pressure.add(&[service, resource.label(), extent.label()], time.as_secs_f64());
        }
    }
    let mut families = vec![cpu, memory, pressure];
    families.extend(resources.node.iter().flat_map(of_node));
    families
}

fn of_node(node: &NodeUse) -> [Family; 6] {
    let mut cpu = Family::new(&names::NODE_CPU);
    for (mode, time) in &node.cpu {
        cpu.add(&[mode], time.as_secs_f64());
    }
    let mut cpus = Family::new(&names::NODE_CPUS);
    cpus.add(&[], node.cpus as f64);
    let mut memory = Family::new(&names::NODE_MEMORY);
    let mut swap = Family::new(&names::NODE_SWAP);
    for (family, room) in [(&mut memory, node.memory), (&mut swap, node.swap)] {
        family.add(&["used"], room.used as f64);
        family.add(&["available"], room.available as f64);
    }
    let mut load = Family::new(&names::NODE_LOAD);
    for (period, average) in PERIODS.iter().zip(node.load) {
        load.add(&[period], average);
    }
    let mut pressure = Family::new(&names::NODE_PRESSURE);
    for (resource, extent, time) in known(&node.stalls) {
        pressure.add(&[resource.label(), extent.label()], time.as_secs_f64());
    }
    [cpu, cpus, memory, swap, load, pressure]
}
