//! What services and the node use.

use super::super::{names, sink::Sink};
use crate::resources::{Resources, known, node::NodeUse};

/// The periods of the load averages.
const PERIODS: [&str; 3] = ["1m", "5m", "15m"];

pub(super) fn write(sink: &mut impl Sink, resources: &Resources) {
    let services = || {
        resources
            .services
            .iter()
            .map(|(identity, used)| (&*identity.service, identity.place.as_deref(), used))
    };
    let mut cpu = sink.family(&names::SERVICE_CPU);
    for (service, place, used) in services() {
        if let Some(time) = used.cpu {
            cpu.add_at(place, &[service], time.as_secs_f64());
        }
    }
    let mut memory = sink.family(&names::SERVICE_MEMORY);
    for (service, place, used) in services() {
        if let Some(bytes) = used.memory {
            memory.add_at(place, &[service], bytes as f64);
        }
    }
    let mut pressure = sink.family(&names::SERVICE_PRESSURE);
    for (service, place, used) in services() {
        for (resource, extent, time) in known(&used.stalls) {
            pressure.add_at(place, &[service, resource.label(), extent.label()], time.as_secs_f64());
        }
    }
    if let Some(node) = &resources.node {
        of_node(sink, node);
    }
}

fn of_node(sink: &mut impl Sink, node: &NodeUse) {
    let mut cpu = sink.family(&names::NODE_CPU);
    for (mode, time) in &node.cpu {
        cpu.add(&[mode], time.as_secs_f64());
    }
    sink.family(&names::NODE_CPUS).add(&[], node.cpus as f64);
    for (metric, room) in [(&names::NODE_MEMORY, node.memory), (&names::NODE_SWAP, node.swap)] {
        let mut family = sink.family(metric);
        family.add(&["used"], room.used as f64);
        family.add(&["available"], room.available as f64);
    }
    let mut load = sink.family(&names::NODE_LOAD);
    for (period, average) in PERIODS.iter().zip(node.load) {
        load.add(&[period], average);
    }
    let mut pressure = sink.family(&names::NODE_PRESSURE);
    for (resource, extent, time) in known(&node.stalls) {
        pressure.add(&[resource.label(), extent.label()], time.as_secs_f64());
    }
}
