//! The services of a capture: who answers, and what they speak.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use probe_common::protocol::Protocol;

use super::tally::Tally;

/// Services that are told apart; those beyond are one, as in the kernel.
const SERVICES: usize = 16_384;

/// Index of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service(usize);

/// Everything that is counted, by service and protocol.
#[derive(Default)]
pub(super) struct Services {
    indices: HashMap<SocketAddr, Service>,
    counted: Vec<ByProtocol>,
    /// Of services that found no room.
    other: ByProtocol,
}

/// What is counted of a service, by what was spoken.
type ByProtocol = BTreeMap<Protocol, Tally>;

/// A line of the report.
pub(super) struct Row {
    /// None stands for the services that found no room.
    pub(super) service: Option<SocketAddr>,
    pub(super) protocol: Protocol,
    pub(super) tally: Tally,
}

impl Services {
    /// The service at an address and port.
    pub(super) fn at(&mut self, server: SocketAddr) -> Service {
        if let Some(service) = self.indices.get(&server) {
            return *service;
        }
        if self.counted.len() >= SERVICES {
            return Service(usize::MAX);
        }
        let service = Service(self.counted.len());
        self.counted.push(ByProtocol::new());
        self.indices.insert(server, service);
        service
    }

    /// What is counted of a service on connections that speak a protocol.
    pub(super) fn tally(&mut self, service: Service, protocol: Protocol) -> &mut Tally {
        self.counted.get_mut(service.0).unwrap_or(&mut self.other).entry(protocol).or_default()
    }

    /// All of it, by address.
    pub(super) fn rows(mut self) -> Vec<Row> {
        let mut servers: Vec<_> = self.indices.into_iter().collect();
        servers.sort_unstable_by_key(|(server, _)| *server);
        let mut rows = Vec::new();
        for (server, service) in servers {
            let tallies = self.counted.get_mut(service.0).map(std::mem::take).unwrap_or_default();
            rows.extend(joined(tallies).map(|(protocol, tally)| Row {
                service: Some(server),
                protocol,
                tally,
            }));
        }
        let other = joined(self.other).map(|(protocol, tally)| Row { service: None, protocol, tally });
        rows.extend(other);
        rows
    }
}

/// Connections on which nothing was said, or nothing that can be read, belong to the one protocol that a service speaks
/// on others.
fn joined(mut tallies: ByProtocol) -> impl Iterator<Item = (Protocol, Tally)> {
    let mut spoken = tallies.keys().filter(|protocol| Protocol::MEASURED.contains(protocol));
    let home = match (spoken.next(), spoken.next()) {
        (Some(only), None) => Some(*only),
        (Some(_), Some(_)) => None,
        (None, _) => tallies.keys().max().copied(),
    };
    if let Some(home) = home {
        let strays: Vec<_> = tallies.keys().copied().filter(|protocol| *protocol != home).collect();
        for stray in strays {
            if let Some(tally) = tallies.remove(&stray) {
                tallies.entry(home).or_default().merge(&tally);
            }
        }
    }
    tallies.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_beyond_the_last_are_one() {
        let mut services = Services::default();
        let address = |number: usize| SocketAddr::from((u32::try_from(number).unwrap().to_be_bytes(), 80));
        for round in 1..=2 {
            for number in 0..SERVICES + 10 {
                let service = services.at(address(number));
                services.tally(service, Protocol::Http1).connections.opened += round;
            }
        }
        let rows = services.rows();
        assert_eq!(rows.len(), SERVICES + 1);
        assert!(rows[..SERVICES].iter().all(|row| row.tally.connections.opened == 3));
        let other = rows.last().unwrap();
        assert_eq!((other.service, other.tally.connections.opened), (None, 30));
    }
}
