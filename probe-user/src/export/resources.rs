//! What services and the node use.

use super::{names, page::Page};
use crate::resources::{Resources, known, node::NodeUse};

/// The periods of the load averages.
const PERIODS: [&str; 3] = ["1m", "5m", "15m"];

pub(super) fn write(page: &mut Page<'_>, resources: &Resources) {
    let services = || {
        resources
            .services
            .iter()
            .map(|(identity, used)| (&*identity.service, identity.place.as_deref(), used))
    };
    let mut cpu = page.family(&names::SERVICE_CPU);
    for (service, place, used) in services() {
        if let Some(time) = used.cpu {
            cpu.add_at(place, &[service], time.as_secs_f64());
        }
    }
    let mut memory = page.family(&names::SERVICE_MEMORY);
    for (service, place, used) in services() {
        if let Some(bytes) = used.memory {
            memory.add_at(place, &[service], bytes as f64);
        }
    }
    let mut pressure = page.family(&names::SERVICE_PRESSURE);
    for (service, place, used) in services() {
        for (resource, extent, time) in known(&used.stalls) {
            pressure.add_at(place, &[service, resource.label(), extent.label()], time.as_secs_f64());
        }
    }
    if let Some(node) = &resources.node {
        of_node(page, node);
    }
}

fn of_node(page: &mut Page<'_>, node: &NodeUse) {
    let mut cpu = page.family(&names::NODE_CPU);
    for (mode, time) in &node.cpu {
        cpu.add(&[mode], time.as_secs_f64());
    }
    page.family(&names::NODE_CPUS).add(&[], node.cpus as f64);
    for (metric, room) in [(&names::NODE_MEMORY, node.memory), (&names::NODE_SWAP, node.swap)] {
        let mut family = page.family(metric);
        family.add(&["used"], room.used as f64);
        family.add(&["available"], room.available as f64);
    }
    let mut load = page.family(&names::NODE_LOAD);
    for (period, average) in PERIODS.iter().zip(node.load) {
        load.add(&[period], average);
    }
    let mut pressure = page.family(&names::NODE_PRESSURE);
    for (resource, extent, time) in known(&node.stalls) {
        pressure.add(&[resource.label(), extent.label()], time.as_secs_f64());
    }
}
