//! What is known of interfaces, and of all together.

use probe_common::{
    counters::Volume,
    interface::{Family as Network, Transport, Way},
};

use super::super::{names, sink::Sink};
use crate::{report::Rates, snapshot::Snapshot};

pub(super) fn totals(sink: &mut impl Sink, snapshot: &Snapshot) {
    type Of = fn(&Volume) -> u64;
    let counters: [(_, Of); 2] = [
        (&names::INTERFACE_BYTES, |volume| volume.bytes),
        (&names::INTERFACE_PACKETS, |volume| volume.packets),
    ];
    for (metric, of) in counters {
        let mut family = sink.family(metric);
        for_each_seen(snapshot, |kind| {
            let volume = &snapshot.interfaces[kind.interface][kind.way][kind.network][kind.transport];
            family.add(&kind.labels(), of(volume) as f64);
        });
    }
    let mut node = sink.family(&names::NODE_BYTES);
    for (way, bytes) in Way::ALL.iter().zip(snapshot.node.iter().flatten()) {
        node.add(&[way.label()], *bytes as f64);
    }
}

pub(super) fn rates(sink: &mut impl Sink, snapshot: &Snapshot, rates: &Rates) {
    let mut bandwidth = sink.family(&names::INTERFACE_BANDWIDTH);
    for_each_seen(snapshot, |kind| {
        if let Some(interface) = rates.interfaces.get(kind.interface) {
            bandwidth.add(&kind.labels(), interface[kind.way][kind.network][kind.transport]);
        }
    });
    let mut node = sink.family(&names::NODE_BANDWIDTH);
    for way in Way::ALL.into_iter().filter(|_| snapshot.node.is_some()) {
        node.add(&[way.label()], rates.node[way as usize]);
    }
}

/// An interface, and the indices of a kind of traffic in its tables.
struct Kind<'a> {
    interface: &'a str,
    way: usize,
    network: usize,
    transport: usize,
}

impl Kind<'_> {
    fn labels(&self) -> [&str; 4] {
        [
            self.interface,
            Way::ALL[self.way].label(),
            Network::ALL[self.network].label(),
            Transport::ALL[self.transport].label(),
        ]
    }
}

/// Visits the kinds of traffic that each interface has seen: the others would be 24 series of zeros an interface.
fn for_each_seen(snapshot: &Snapshot, mut visit: impl FnMut(Kind<'_>)) {
    for (interface, ways) in &snapshot.interfaces {
        for (way, networks) in ways.iter().enumerate() {
            for (network, transports) in networks.iter().enumerate() {
                for (transport, volume) in transports.iter().enumerate() {
                    if volume.packets > 0 {
                        visit(Kind { interface, way, network, transport });
                    }
                }
            }
        }
    }
}
