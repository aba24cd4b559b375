//! The addresses of the cluster, by what told of them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Backend, PeerAnswer, objects::Owned};

/// An address that nobody has any more keeps its names for this long: what was said to it may be seen at the next pass only.
const KEPT: Duration = Duration::from_mins(1);

/// How long the API server is waited for to tell of an address that has just been seen.
const LAG: Duration = Duration::from_secs(10);

/// How long the first lists are waited for, from the start on: later, addresses go without names.
const FIRST_LIST: Duration = Duration::from_secs(30);

/// Which of the two kinds of object, and which of these.
pub(super) type Source = (Kind, (String, String));

/// Who has an address: what told of it, whose it is, and the ports at which it is.
type Owner = (Source, Arc<Backend>, Arc<[u16]>);

/// What tells of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// `EndpointSlices`.
    Slice,
    /// `Services`.
    Service,
}

/// What the API server told.
#[derive(Debug)]
pub(super) struct Endpoints {
    began: Instant,
    /// Of each kind: whether it was listed, or never will be.
    settled: [bool; 2],
    refused: bool,
    told: HashMap<Source, Vec<IpAddr>>,
    addresses: HashMap<IpAddr, Vec<Owner>>,
    gone: VecDeque<(Instant, IpAddr, Arc<Backend>)>,
    /// Those of a list that has begun.
    listed: [HashSet<Source>; 2],
}

impl Endpoints {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            settled: [false; 2],
            refused: false,
            told: HashMap::new(),
            addresses: HashMap::new(),
            gone: VecDeque::new(),
            listed: [HashSet::new(), HashSet::new()],
        }
    }

    /// How many addresses are known.
    pub(super) fn known(&self) -> usize {
        self.addresses.len()
    }

    /// Nothing is to be expected of the API server for now; what it told before stays true.
    pub(super) fn conclude_without_server(&mut self) {
        self.refused = true;
    }

    pub(super) fn begin_list(&mut self, kind: Kind) {
        self.listed[kind as usize].clear();
    }

    /// That was all of them: what was not among these is gone.
    pub(super) fn end_list(&mut self, kind: Kind, now: Instant) {
        self.settled[kind as usize] = true;
        self.refused = false;
        let listed = std::mem::take(&mut self.listed[kind as usize]);
        let gone: Vec<_> =
            self.told.keys().filter(|source| source.0 == kind && !listed.contains(source)).cloned().collect();
        for source in gone {
            self.remove(&source, now);
        }
    }

    /// An object has come or changed.
    pub(super) fn apply(&mut self, source: &Source, owned: Vec<Owned>, now: Instant) {
        self.remove(source, now);
        self.listed[source.0 as usize].insert(source.clone());
        self.told.insert(source.clone(), owned.iter().map(|(address, ..)| *address).collect());
        for (address, backend, ports) in owned {
            self.addresses.entry(address).or_default().push((source.clone(), backend, ports));
        }
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, source: &Source, now: Instant) {
        for address in self.told.remove(source).into_iter().flatten() {
            let Some(owners) = self.addresses.get_mut(&address) else { continue };
            let left = owners.extract_if(.., |owner| owner.0 == *source);
            self.gone.extend(left.map(|(_, backend, _)| (now, address, backend)));
            if owners.is_empty() {
                self.addresses.remove(&address);
            }
        }
        while self.gone.front().is_some_and(|(gone, ..)| now.saturating_duration_since(*gone) >= KEPT) {
            self.gone.pop_front();
        }
    }

    /// Whose an address is, at a port if that is known.
    pub(super) fn find(
        &self,
        address: IpAddr,
        port: Option<u16>,
        since: Instant,
        now: Instant,
    ) -> PeerAnswer {
        if let Some(backend) = self.owner(address, port) {
            return PeerAnswer::Known(backend);
        }
        if let Some((.., backend)) = self.gone.iter().rev().find(|(gone, of, _)| {
            *of == address && now.saturating_duration_since(*gone) < KEPT && !self.addresses.contains_key(of)
        }) {
            return PeerAnswer::Known(Arc::clone(backend));
        }
        let expected = if self.refused || self.addresses.contains_key(&address) {
            false
        } else if self.settled == [true; 2] {
            now.saturating_duration_since(since) < LAG
        } else {
            now.saturating_duration_since(self.began) < FIRST_LIST
        };
        if expected { PeerAnswer::NotYet } else { PeerAnswer::Unknown }
    }

    /// Of those who have the address: who listens at the port, if any of them does. Pods in their node's network share its
    /// address: where not all are one pod, nobody is told. Of the services that one pod is behind the first by name.
    fn owner(&self, address: IpAddr, port: Option<u16>) -> Option<Arc<Backend>> {
        let owners = self.addresses.get(&address)?;
        let listens = |ports: &[u16]| port.is_some_and(|port| ports.contains(&port));
        let mut chosen: Vec<_> =
            owners.iter().filter(|owner| listens(&owner.2)).map(|owner| &owner.1).collect();
        if chosen.is_empty() {
            chosen = owners.iter().map(|owner| &owner.1).collect();
        }
        let first = chosen.iter().min()?;
        let same = |other: &&&Arc<Backend>| (&other.namespace, &other.pod) == (&first.namespace, &first.pod);
        (chosen.iter().filter(same).count() == chosen.len()).then(|| Arc::clone(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn slice(service: &str) -> Source {
        (Kind::Slice, ("shop".into(), format!("{service}-1")))
    }

    fn owned(address: &str, service: &str, pod: &str, ports: &[u16]) -> Owned {
        let backend = Backend { namespace: "shop".into(), service: service.into(), pod: pod.into() };
        (address.parse().unwrap(), backend.into(), ports.into())
    }

    /// What an address is, as `service/pod`.
    fn found(endpoints: &Endpoints, address: &str, port: Option<u16>, now: Instant) -> String {
        let since = endpoints.began;
        match endpoints.find(address.parse().unwrap(), port, since, now) {
            PeerAnswer::Known(backend) => format!("{}/{}", backend.service, backend.pod),
            PeerAnswer::NotYet => "not yet".into(),
            PeerAnswer::Unknown => "unknown".into(),
        }
    }

    fn listed(now: Instant) -> Endpoints {
        let mut endpoints = Endpoints::new(now);
        for kind in [Kind::Slice, Kind::Service] {
            endpoints.begin_list(kind);
            endpoints.end_list(kind, now);
        }
        endpoints
    }

    #[test]
    fn names_are_waited_for_but_not_for_ever() {
        let now = Instant::now();
        let mut waiting = Endpoints::new(now);
        assert_eq!(found(&waiting, "10.0.0.5", None, now + SECOND * 29), "not yet");
        assert_eq!(found(&waiting, "10.0.0.5", None, now + SECOND * 31), "unknown");
        let endpoints = listed(now);
        assert_eq!(found(&endpoints, "10.0.0.5", None, now + SECOND * 9), "not yet");
        assert_eq!(found(&endpoints, "10.0.0.5", None, now + SECOND * 11), "unknown");
        waiting.conclude_without_server();
        assert_eq!(found(&waiting, "10.0.0.5", None, now), "unknown");
    }

    #[test]
    fn an_address_is_its_pods_for_a_while_after_it_went() {
        let now = Instant::now();
        let mut endpoints = listed(now);
        endpoints.apply(&slice("web"), vec![owned("10.0.0.5", "web", "web-1", &[80])], now);
        assert_eq!(found(&endpoints, "10.0.0.5", None, now), "web/web-1");
        endpoints.apply(&slice("web"), vec![owned("10.0.0.6", "web", "web-2", &[80])], now);
        assert_eq!(found(&endpoints, "10.0.0.5", None, now + SECOND * 59), "web/web-1");
        assert_eq!(found(&endpoints, "10.0.0.5", None, now + SECOND * 61), "unknown");
        // The address is another's: whatever it was, it is not that any more.
        endpoints.apply(&slice("api"), vec![owned("10.0.0.5", "api", "api-1", &[80])], now);
        assert_eq!(found(&endpoints, "10.0.0.5", None, now + SECOND), "api/api-1");
        endpoints.begin_list(Kind::Slice);
        endpoints.end_list(Kind::Slice, now + SECOND);
        assert_eq!(endpoints.known(), 0);
        assert_eq!(found(&endpoints, "10.0.0.6", None, now + SECOND * 62), "unknown", "not in the list");
    }

    #[test]
    fn who_shares_an_address_is_told_by_the_port() {
        let now = Instant::now();
        let mut endpoints = listed(now);
        endpoints.apply(&slice("web"), vec![owned("10.0.0.5", "web", "web-1", &[80])], now);
        endpoints.apply(&slice("all"), vec![owned("10.0.0.5", "all", "web-1", &[80, 81])], now);
        assert_eq!(found(&endpoints, "10.0.0.5", None, now), "all/web-1", "one pod behind two services");
        endpoints.apply(&slice("dns"), vec![owned("10.0.0.5", "dns", "dns-1", &[53])], now);
        assert_eq!(found(&endpoints, "10.0.0.5", Some(53), now), "dns/dns-1");
        assert_eq!(found(&endpoints, "10.0.0.5", Some(81), now), "all/web-1");
        assert_eq!(found(&endpoints, "10.0.0.5", None, now), "unknown", "two pods");
    }
}
