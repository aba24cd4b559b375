//! What is known of interfaces, and of all together.

use probe_common::interface::{Family as Network, Transport, Way};

use super::{family::Family, names};
use crate::{report::Rates, snapshot::Snapshot};

pub(super) fn totals(snapshot: &Snapshot) -> [Family; 3] {
    let mut bytes = Family::new(&names::INTERFACE_BYTES);
    let mut packets = Family::new(&names::INTERFACE_PACKETS);
    for_each_seen(snapshot, |kind| {
        let volume = snapshot.interfaces[kind.interface][kind.way][kind.network][kind.transport];
        bytes.add(&kind.labels(), volume.bytes as f64);
        packets.add(&kind.labels(), volume.packets as f64);
    });
    let mut node = Family::new(&names::NODE_BYTES);
    for way in Way::ALL {
        node.add(&[way.label()], snapshot.node[way as usize] as f64);
    }
    [bytes, packets, node]
}

pub(super) fn rates(snapshot: &Snapshot, rates: &Rates) -> [Family; 2] {
    let mut bandwidth = Family::new(&names::INTERFACE_BANDWIDTH);
    for_each_seen(snapshot, |kind| {
        if let Some(interface) = rates.interfaces.get(kind.interface) {
            bandwidth.add(&kind.labels(), interface[kind.way][kind.network][kind.transport]);
        }
    });
    let mut node = Family::new(&names::NODE_BANDWIDTH);
    for way in Way::ALL {
        node.add(&[way.label()], rates.node[way as usize]);
    }
    [bandwidth, node]
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
