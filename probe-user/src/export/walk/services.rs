//! What is known of services.

use std::collections::BTreeMap;

use probe_common::{
    interface::{Transport, Way},
    protocol::Protocol,
    service::Role,
};

use super::{
    super::{names, sink::Sink},
    identity_labels::IdentityLabels,
    peers, requests,
};
use crate::{
    report::{Endings, Rates, ServiceRates},
    snapshot::{Service, ServiceId, Snapshot},
};

/// Something of a service, with the labels that say whose it is.
pub(super) type Labelled<'a, T> = (IdentityLabels<'a>, &'a T);

fn labelled<T>(services: &BTreeMap<ServiceId, T>) -> Vec<Labelled<'_, T>> {
    services.iter().map(|(id, of_it)| (IdentityLabels::new(id), of_it)).collect()
}

pub(super) fn totals(sink: &mut impl Sink, snapshot: &Snapshot) {
    let services = labelled(&snapshot.services);
    requests::totals(sink, &services);
    volumes(sink, &services);
    users(sink, &services);
    connections(sink, &services);
    peers::totals(sink, &services);
}

pub(super) fn endings(sink: &mut impl Sink, endings: &BTreeMap<ServiceId, BTreeMap<Protocol, Endings>>) {
    requests::endings(sink, &labelled(endings));
}

pub(super) fn rates(sink: &mut impl Sink, rates: &Rates) {
    let services = labelled(&rates.services);
    bandwidth(sink, &services);
    requests::rates(sink, &services);
}

fn volumes(sink: &mut impl Sink, services: &[Labelled<'_, Service>]) {
    type Of = fn(&Service, Way) -> u64;
    let counters: [(_, Of); 3] = [
        (&names::BYTES, |service, way| service.volume(way).bytes),
        (&names::WIRE_BYTES, |service, way| service.wire[way as usize]),
        (&names::PACKETS, |service, way| service.volume(way).packets),
    ];
    for (metric, of) in counters {
        let mut family = sink.family(metric);
        for (identity, service) in services {
            let [name, port, role] = identity.labels();
            for way in Way::ALL {
                let labels = [name, port, role, way.label(), identity.transport()];
                family.add_at(identity.place, &labels, of(service, way) as f64);
            }
        }
    }
}

/// Users are those of a service; a caller has none.
fn users(sink: &mut impl Sink, services: &[Labelled<'_, Service>]) {
    let mut users = sink.family(&names::CONCURRENT_USERS);
    for (identity, service) in services.iter().filter(|(identity, _)| identity.role == Role::Server) {
        let labels = [identity.service, &identity.port, identity.transport()];
        users.add_at(identity.place, &labels, service.users as f64);
    }
}

fn connections(sink: &mut impl Sink, services: &[Labelled<'_, Service>]) {
    type Of = fn(&Service) -> u64;
    let counts: [(_, Of); 6] = [
        (&names::CONNECTIONS_OPEN, |service| service.connections.open),
        (&names::CONNECTIONS_OPENED, |service| service.connections.opened),
        (&names::CONNECTIONS_CLOSED, |service| service.connections.closed),
        (&names::CONNECTION_FAILURES, |service| service.connections.failed),
        (&names::CONNECTION_RESETS, |service| service.connections.reset),
        (&names::RETRANSMITS, |service| service.retransmitted),
    ];
    let connected = || services.iter().filter(|(identity, _)| identity.transport == Transport::Tcp);
    for (metric, of) in counts {
        let mut family = sink.family(metric);
        for (identity, service) in connected() {
            family.add_at(identity.place, &identity.labels(), of(service) as f64);
        }
    }
    let mut round_trips = sink.family(&names::ROUND_TRIP);
    for (identity, service) in connected().filter(|(_, service)| service.round_trips.count > 0) {
        round_trips.add_histogram(identity.place, &identity.labels(), &service.round_trips);
    }
}

fn bandwidth(sink: &mut impl Sink, services: &[Labelled<'_, ServiceRates>]) {
    let mut bandwidth = sink.family(&names::BANDWIDTH);
    for (identity, service) in services {
        let [name, port, role] = identity.labels();
        for (way, rate) in [(Way::Receive, service.received), (Way::Transmit, service.sent)] {
            let labels = [name, port, role, way.label(), identity.transport()];
            bandwidth.add_at(identity.place, &labels, rate);
        }
    }
}
