//! What was counted between two snapshots.

use std::collections::BTreeMap;

use probe_common::{counters::Volume, protocol::Protocol};

use crate::{
    histogram::Histogram,
    report::Endings,
    settings::ErrorClass,
    snapshot::{InterfaceVolumes, NodeBytes, Service, ServiceId, Snapshot},
};

/// What was counted between two snapshots. What had no traffic is not in it.
#[derive(Debug, Default)]
pub(super) struct Increase {
    pub(super) services: BTreeMap<ServiceId, ServiceIncrease>,
    pub(super) interfaces: BTreeMap<String, InterfaceVolumes>,
    pub(super) node: NodeBytes,
}

/// A service's part of it.
#[derive(Debug, Default)]
pub(super) struct ServiceIncrease {
    pub(super) received: Volume,
    pub(super) sent: Volume,
    pub(super) opened: u64,
    pub(super) requests: BTreeMap<Protocol, Requests>,
}

/// Requests of one protocol.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Of those that were not given up.
    pub(super) durations: Histogram,
    pub(super) endings: Endings,
}

impl Increase {
    /// From one snapshot to the next. What the earlier one does not have counts from zero.
    pub(super) fn between(earlier: &Snapshot, later: &Snapshot, errors: ErrorClass) -> Self {
        let (before, now) = (earlier.node.unwrap_or_default(), later.node.unwrap_or_default());
        let node = [0, 1].map(|way| now[way].saturating_sub(before[way]));
        let mut increase = Self { node, ..Self::default() };
        let nothing = Service::default();
        for (id, service) in &later.services {
            let before = earlier.services.get(id).unwrap_or(&nothing);
            let service = ServiceIncrease::between(before, service, errors);
            if !service.is_empty() {
                increase.services.insert(id.clone(), service);
            }
        }
        for (name, volumes) in &later.interfaces {
            let before = earlier.interfaces.get(name).copied().unwrap_or_default();
            if *volumes != before {
                increase.interfaces.insert(name.clone(), combine(&before, volumes, volume_since));
            }
        }
        increase
    }

    /// Adds what a later step counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, bytes) in self.node.iter_mut().zip(other.node) {
            *sum += bytes;
        }
        for (id, service) in &other.services {
            self.services.entry(id.clone()).or_default().add(service);
        }
        for (name, volumes) in &other.interfaces {
            let sum = self.interfaces.entry(name.clone()).or_default();
            *sum = combine(sum, volumes, |a, b| Volume {
                bytes: a.bytes + b.bytes,
                packets: a.packets + b.packets,
            });
        }
    }

    /// Takes away again what was added once.
    pub(super) fn subtract(&mut self, other: &Self) {
        for (sum, bytes) in self.node.iter_mut().zip(other.node) {
            *sum -= bytes;
        }
        for (id, service) in &other.services {
            if let Some(sum) = self.services.get_mut(id) {
                sum.subtract(service);
            }
        }
        self.services.retain(|_, service| !service.is_empty());
        for (name, volumes) in &other.interfaces {
            if let Some(sum) = self.interfaces.get_mut(name) {
                *sum = combine(volumes, sum, volume_since);
            }
        }
        self.interfaces.retain(|_, volumes| *volumes != InterfaceVolumes::default());
    }
}

impl ServiceIncrease {
    fn between(earlier: &Service, later: &Service, errors: ErrorClass) -> Self {
        let mut increase = Self {
            received: volume_since(earlier.received, later.received),
            sent: volume_since(earlier.sent, later.sent),
            opened: later.connections.opened.saturating_sub(earlier.connections.opened),
            requests: BTreeMap::new(),
        };
        // Both are in one order: walking along costs less than a search for each.
        let mut known = earlier.requests.iter().peekable();
        for (kind, durations) in &later.requests {
            while known.next_if(|(earlier, _)| *earlier < kind).is_some() {}
            let durations = match known.next_if(|(earlier, _)| *earlier == kind).map(|(_, before)| before) {
                Some(before) if before.count == durations.count && before.sum == durations.sum => continue,
                Some(before) => durations.since(before),
                None => durations.clone(),
            };
            let requests = increase.requests.entry(kind.protocol).or_default();
            requests.endings.add(Endings::of(kind, durations.count, errors));
            if !kind.is_given_up() {
                requests.durations.merge(&durations);
            }
        }
        increase
    }

    fn is_empty(&self) -> bool {
        let nothing = Volume::default();
        self.received == nothing && self.sent == nothing && self.opened == 0 && self.requests.is_empty()
    }

    fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        for (sum, volume) in [(&mut self.received, other.received), (&mut self.sent, other.sent)] {
            sum.bytes += volume.bytes;
            sum.packets += volume.packets;
        }
        for (protocol, requests) in &other.requests {
            let sum = self.requests.entry(*protocol).or_default();
            sum.durations.merge(&requests.durations);
            sum.endings.add(requests.endings);
        }
    }

    fn subtract(&mut self, other: &Self) {
        self.opened -= other.opened;
        self.received = volume_since(other.received, self.received);
        self.sent = volume_since(other.sent, self.sent);
        for (protocol, requests) in &other.requests {
            if let Some(sum) = self.requests.get_mut(protocol) {
                sum.durations = sum.durations.since(&requests.durations);
                sum.endings.subtract(requests.endings);
            }
        }
        self.requests.retain(|_, requests| requests.endings.all > 0);
    }
}

/// What a volume grew by. One that went back was reset, and counts from zero, as Prometheus has it.
fn volume_since(earlier: Volume, later: Volume) -> Volume {
    if later.bytes < earlier.bytes || later.packets < earlier.packets {
        return later;
    }
    Volume { bytes: later.bytes - earlier.bytes, packets: later.packets - earlier.packets }
}

fn combine(
    left: &InterfaceVolumes,
    right: &InterfaceVolumes,
    operation: impl Fn(Volume, Volume) -> Volume,
) -> InterfaceVolumes {
    let mut result = *right;
    for (way, families) in result.iter_mut().enumerate() {
        for (family, transports) in families.iter_mut().enumerate() {
            for (transport, volume) in transports.iter_mut().enumerate() {
                *volume = operation(left[way][family][transport], *volume);
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_went_back_counts_from_zero() {
        let volume = |bytes, packets| Volume { bytes, packets };
        assert_eq!(volume_since(volume(100, 2), volume(150, 3)), volume(50, 1));
        assert_eq!(volume_since(volume(100, 2), volume(40, 1)), volume(40, 1));
    }
}
