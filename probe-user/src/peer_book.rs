//! What the peers of each service come to, by what they are called.
//!
//! The kernel's entries come and go with addresses; names may be of several, and an address may be another's later. So what an
//! entry has more than at the last pass is added to the name that it has now, and a name's totals never go down: they leave
//! when nothing has been added to them for long.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use probe_common::peer::PeerCell;

use crate::{
    settings::ErrorClass,
    snapshot::{Peer, PeerTotals, Service, ServiceId},
};

/// The totals.
#[derive(Debug)]
pub struct PeerBook {
    errors: ErrorClass,
    /// Longer than any machine runs, where they stay.
    after: Duration,
    services: BTreeMap<ServiceId, BTreeMap<Peer, Account>>,
}

/// What a peer has, and since when.
#[derive(Debug)]
struct Account {
    totals: PeerCell,
    since: Instant,
}

impl PeerBook {
    /// An empty one, in which `errors` says what fails, and names stay that long after the last that came.
    #[must_use]
    pub const fn new(errors: ErrorClass, after: Duration) -> Self {
        Self { errors, after, services: BTreeMap::new() }
    }

    /// Adds what came of a peer of a service.
    pub fn add(&mut self, service: &ServiceId, peer: Peer, more: &PeerCell, now: Instant) {
        if !self.services.contains_key(service) {
            self.services.insert(service.clone(), BTreeMap::new());
        }
        let Some(peers) = self.services.get_mut(service) else { return };
        let account = peers.entry(peer).or_insert(Account { totals: PeerCell::default(), since: now });
        account.totals.add(more);
        account.since = now;
    }

    /// Forgets those to which nothing has been added for long.
    pub fn forget_idle(&mut self, now: Instant) {
        for peers in self.services.values_mut() {
            peers.retain(|_, account| now.saturating_duration_since(account.since) < self.after);
        }
        self.services.retain(|_, peers| !peers.is_empty());
    }

    /// Gives the services that there are their peers.
    pub fn show(&self, services: &mut BTreeMap<ServiceId, Service>) {
        for (id, peers) in &self.services {
            let Some(service) = services.get_mut(id) else { continue };
            service.peers =
                peers.iter().map(|(peer, account)| (peer.clone(), self.totals(&account.totals))).collect();
        }
    }

    fn totals(&self, cell: &PeerCell) -> PeerTotals {
        let blamed_on_client = match self.errors {
            ErrorClass::Server => 0,
            ErrorClass::ServerAndClient => cell.blamed_on_client,
        };
        PeerTotals {
            requests: cell.requests,
            errors: cell.blamed_on_server + blamed_on_client,
            duration: Duration::from_nanos(cell.nanoseconds),
            connections: cell.connections,
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{interface::Transport, service::Role};

    use super::*;
    use crate::identity::Identity;

    const HOUR: Duration = Duration::from_hours(1);

    fn nginx() -> ServiceId {
        ServiceId {
            identity: Identity::named("nginx"),
            port: 80,
            role: Role::Server,
            transport: Transport::Tcp,
        }
    }

    fn shown(book: &PeerBook) -> Vec<(String, u64, u64)> {
        let mut services = [(nginx(), Service::default())].into();
        book.show(&mut services);
        let peers = services.remove(&nginx()).unwrap().peers;
        peers
            .into_iter()
            .map(|(peer, totals)| (peer.name.to_string(), totals.requests, totals.errors))
            .collect()
    }

    fn cell(requests: u64) -> PeerCell {
        PeerCell { requests, blamed_on_client: 2, blamed_on_server: 1, ..PeerCell::default() }
    }

    #[test]
    fn what_comes_of_a_name_is_added_up_and_leaves_when_it_is_old() {
        let begin = Instant::now();
        let mut book = PeerBook::new(ErrorClass::Server, HOUR);
        book.add(&nginx(), Peer::named("a"), &cell(5), begin);
        book.add(&nginx(), Peer::named("a"), &cell(5), begin);
        book.add(&nginx(), Peer::named("b"), &cell(7), begin + HOUR / 2);
        book.forget_idle(begin + HOUR / 2);
        assert_eq!(shown(&book), [("a".into(), 10, 2), ("b".into(), 7, 1)]);
        book.forget_idle(begin + HOUR);
        assert_eq!(shown(&book), [("b".into(), 7, 1)]);
        book.forget_idle(begin + HOUR * 2);
        assert!(book.services.is_empty());
    }

    #[test]
    fn whether_clients_are_to_blame_is_a_setting() {
        let mut book = PeerBook::new(ErrorClass::ServerAndClient, HOUR);
        book.add(&nginx(), Peer::named("a"), &cell(5), Instant::now());
        assert_eq!(shown(&book), [("a".into(), 5, 3)]);
    }
}
