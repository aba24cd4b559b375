//! What is known of services.

use std::fmt::Write;

use probe_common::{
    exchange::{ABORTED, as_class},
    interface::{Transport, Way},
    protocol::Protocol,
    service::Role,
};

use super::{family::Family, names};
use crate::{
    place::Place,
    report::{Rates, RequestRates},
    snapshot::{Connections, Service, ServiceId, Snapshot},
};

/// The quantiles of `traffic_request_latency_seconds`, with their labels.
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];

pub(super) fn totals(snapshot: &Snapshot) -> Vec<Family> {
    let mut totals = Totals::default();
    for (id, service) in &snapshot.services {
        totals.add(&IdentityLabels::new(id), service);
    }
    let Totals { requests, volumes, connections, users } = totals;
    let mut families = requests.into_families();
    families.extend([volumes.bytes, volumes.wire, volumes.packets, users]);
    families.extend(connections.into_families());
    families
}

pub(super) fn rates(rates: &Rates) -> Vec<Family> {
    let mut bandwidth = Family::new(&names::BANDWIDTH);
    let mut requests = RequestFamilies::default();
    for (id, service) in &rates.services {
        let identity = IdentityLabels::new(id);
        let [name, port, role] = identity.labels();
        for (way, rate) in [(Way::Receive, service.received), (Way::Transmit, service.sent)] {
            bandwidth.add_at(identity.place, &[name, port, role, way.label(), identity.transport()], rate);
        }
        for (protocol, rates) in &service.requests {
            requests.add(&identity, *protocol, rates);
        }
    }
    let RequestFamilies { requests, transactions, latency, errors } = requests;
    vec![bandwidth, requests, transactions, latency, errors]
}

/// The values of the labels that say whose a series is.
pub(super) struct IdentityLabels<'a> {
    service: &'a str,
    port: String,
    role: Role,
    transport: Transport,
    /// Where it runs, if in a cluster.
    pub(super) place: Option<&'a Place>,
}

impl<'a> IdentityLabels<'a> {
    pub(super) fn new(id: &'a ServiceId) -> Self {
        Self {
            service: id.name(),
            port: id.port.to_string(),
            role: id.role,
            transport: id.transport,
            place: id.place(),
        }
    }

    pub(super) fn labels(&self) -> [&str; 3] {
        [self.service, &self.port, self.role.label()]
    }

    /// Of TCP's series the label is empty, and so left out: they are the many, and were there first.
    pub(super) const fn transport(&self) -> &'static str {
        if matches!(self.transport, Transport::Udp) { Transport::Udp.label() } else { "" }
    }
}

struct Totals {
    requests: RequestTotals,
    volumes: Volumes,
    connections: ConnectionFamilies,
    users: Family,
}

struct RequestTotals {
    total: Family,
    duration: Family,
    first_byte: Family,
    phase: Family,
    in_flight: Family,
    oldest: Family,
}

struct Volumes {
    bytes: Family,
    wire: Family,
    packets: Family,
}

struct ConnectionFamilies {
    counts: [Family; 6],
    round_trips: Family,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            requests: RequestTotals {
                total: Family::new(&names::REQUESTS),
                duration: Family::new(&names::REQUEST_DURATION),
                first_byte: Family::new(&names::TIME_TO_FIRST_BYTE),
                phase: Family::new(&names::REQUEST_PHASE),
                in_flight: Family::new(&names::REQUESTS_IN_FLIGHT),
                oldest: Family::new(&names::OLDEST_REQUEST_AGE),
            },
            volumes: Volumes {
                bytes: Family::new(&names::BYTES),
                wire: Family::new(&names::WIRE_BYTES),
                packets: Family::new(&names::PACKETS),
            },
            connections: ConnectionFamilies {
                counts: [
                    Family::new(&names::CONNECTIONS_OPEN),
                    Family::new(&names::CONNECTIONS_OPENED),
                    Family::new(&names::CONNECTIONS_CLOSED),
                    Family::new(&names::CONNECTION_FAILURES),
                    Family::new(&names::CONNECTION_RESETS),
                    Family::new(&names::RETRANSMITS),
                ],
                round_trips: Family::new(&names::ROUND_TRIP),
            },
            users: Family::new(&names::CONCURRENT_USERS),
        }
    }
}

impl Totals {
    fn add(&mut self, identity: &IdentityLabels<'_>, service: &Service) {
        self.requests.add(identity, service);
        self.volumes.add(identity, service);
        if identity.transport == Transport::Tcp {
            self.connections.add(identity, service);
        }
        // Users are those of a service; a caller has none.
        if identity.role == Role::Server {
            self.users.add_at(
                identity.place,
                &[identity.service, &identity.port, identity.transport()],
                service.users as f64,
            );
        }
    }
}

impl RequestTotals {
    fn add(&mut self, identity: &IdentityLabels<'_>, service: &Service) {
        let [name, port, role] = identity.labels();
        let mut status = String::new();
        for (kind, durations) in &service.requests {
            status.clear();
            match kind.status {
                ABORTED => status.push_str("aborted"),
                // Writing to a string cannot fail.
                number => match as_class(number) {
                    Some(class) => _ = write!(status, "{class}xx"),
                    None => _ = write!(status, "{number:03}"),
                },
            }
            let route = kind.route.as_deref().unwrap_or_default();
            let labels = [name, port, role, kind.protocol.label(), kind.method.label(), &status, route];
            self.total.add_at(identity.place, &labels, durations.count as f64);
            self.duration.add_histogram(identity.place, &labels, durations);
        }
        for (protocol, times) in &service.first_byte {
            self.first_byte.add_histogram(identity.place, &[name, port, role, protocol.label()], times);
        }
        for ((protocol, phase), times) in &service.phases {
            self.phase.add_histogram(
                identity.place,
                &[name, port, role, protocol.label(), phase.label()],
                times,
            );
        }
        for (protocol, waiting) in &service.in_flight {
            let labels = [name, port, role, protocol.label()];
            self.in_flight.add_at(identity.place, &labels, waiting.requests as f64);
            self.oldest.add_at(identity.place, &labels, waiting.oldest.unwrap_or_default().as_secs_f64());
        }
    }

    fn into_families(self) -> Vec<Family> {
        let Self { total, duration, first_byte, phase, in_flight, oldest } = self;
        vec![total, duration, first_byte, phase, in_flight, oldest]
    }
}

impl Volumes {
    fn add(&mut self, identity: &IdentityLabels<'_>, service: &Service) {
        let [name, port, role] = identity.labels();
        for (way, volume) in [(Way::Receive, service.received), (Way::Transmit, service.sent)] {
            let labels = [name, port, role, way.label(), identity.transport()];
            self.bytes.add_at(identity.place, &labels, volume.bytes as f64);
            self.wire.add_at(identity.place, &labels, service.wire[way as usize] as f64);
            self.packets.add_at(identity.place, &labels, volume.packets as f64);
        }
    }
}

impl ConnectionFamilies {
    fn add(&mut self, identity: &IdentityLabels<'_>, service: &Service) {
        let Connections { opened, closed, open, failed, reset } = service.connections;
        let counts = [open, opened, closed, failed, reset, service.retransmitted];
        for (family, value) in self.counts.iter_mut().zip(counts) {
            family.add_at(identity.place, &identity.labels(), value as f64);
        }
        if service.round_trips.count > 0 {
            self.round_trips.add_histogram(identity.place, &identity.labels(), &service.round_trips);
        }
    }

    fn into_families(self) -> Vec<Family> {
        self.counts.into_iter().chain([self.round_trips]).collect()
    }
}

struct RequestFamilies {
    requests: Family,
    transactions: Family,
    latency: Family,
    errors: Family,
}

impl Default for RequestFamilies {
    fn default() -> Self {
        Self {
            requests: Family::new(&names::REQUESTS_PER_SECOND),
            transactions: Family::new(&names::TRANSACTIONS_PER_SECOND),
            latency: Family::new(&names::REQUEST_LATENCY),
            errors: Family::new(&names::ERROR_RATIO),
        }
    }
}

impl RequestFamilies {
    fn add(&mut self, identity: &IdentityLabels<'_>, protocol: Protocol, rates: &RequestRates) {
        let [name, port, role] = identity.labels();
        let labels = [name, port, role, protocol.label()];
        self.requests.add_at(identity.place, &labels, rates.requests);
        self.transactions.add_at(identity.place, &labels, rates.transactions);
        if let Some(ratio) = rates.error_ratio {
            self.errors.add_at(identity.place, &labels, ratio);
        }
        let mut add_latency = |quantile, value: Option<f64>| {
            if let Some(value) = value {
                self.latency.add_at(identity.place, &[name, port, role, protocol.label(), quantile], value);
            }
        };
        add_latency("avg", rates.durations.average());
        for (label, quantile) in QUANTILES {
            add_latency(label, rates.durations.quantile(quantile));
        }
    }
}
