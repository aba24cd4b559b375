//! What peers are called: by a network that somebody named, by the pod or service of the cluster that has the address, by
//! the service of this node that listens there, or by the address alone.

use std::{
    collections::HashMap,
    net::{IpAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};

use probe_common::{interface::Transport, service::Role};

use crate::{
    kubernetes::{PeerAnswer, PeerDirectory},
    peer_networks::PeerNetworks,
    settings::PeerLabel,
    snapshot::{Peer, ServiceId},
};

/// Who tells the names.
#[derive(Clone, Debug)]
pub struct PeerNames {
    networks: PeerNetworks,
    labels: Vec<PeerLabel>,
    /// If pods and services of the cluster are to be known.
    cluster: Option<PeerDirectory>,
}

/// The other end of a service's connections.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Whose.
    pub service: &'a ServiceId,
    /// The peer's address.
    pub address: IpAddr,
    /// The number of the network that it stands for, if it is one.
    pub network: u32,
    /// Whether the address is this host's.
    pub is_local: bool,
    /// When it was first seen.
    pub since: Instant,
}

/// The services of this node that listen, by their ports; none where several share one.
#[derive(Debug)]
pub struct Listeners<'a>(HashMap<u16, Option<&'a ServiceId>>);

impl<'a> Listeners<'a> {
    /// Of all the services that there are.
    pub fn among(services: impl IntoIterator<Item = &'a ServiceId>) -> Self {
        let mut ports: HashMap<u16, Option<&ServiceId>> = HashMap::new();
        let listens = |id: &&ServiceId| id.role == Role::Server && id.transport == Transport::Tcp;
        for id in services.into_iter().filter(listens) {
            ports
                .entry(id.port)
                // The kernel's services of one name are one.
                .and_modify(|known| *known = known.filter(|known| *known == id))
                .or_insert(Some(id));
        }
        Self(ports)
    }
}

impl PeerNames {
    /// Of networks, and of a cluster.
    #[must_use]
    pub const fn new(networks: PeerNetworks, labels: Vec<PeerLabel>, cluster: Option<PeerDirectory>) -> Self {
        Self { networks, labels, cluster }
    }

    /// What a peer is called; none if that may be known in a moment.
    #[must_use]
    pub fn of(&self, end: &End<'_>, listeners: &Listeners<'_>, now: Instant) -> Option<Peer> {
        if let Some(name) = self.networks.name(end.network) {
            return Some(self.selected(Peer { name: Arc::clone(name), ..Peer::default() }));
        }
        // Of a client the port at this end is the server's, which tells nothing of the client.
        let port = (end.service.role == Role::Client).then_some(end.service.port);
        let mut peer = Peer::named(&end.address.to_string());
        match self.cluster.as_ref().map(|cluster| cluster.find(end.address, port, end.since, now)) {
            Some(PeerAnswer::NotYet) => return None,
            Some(PeerAnswer::Known(known)) => {
                peer = Peer {
                    name: peer.name,
                    namespace: known.namespace.as_str().into(),
                    pod: known.pod.as_str().into(),
                    service: known.service.as_str().into(),
                };
            }
            Some(PeerAnswer::Unknown) | None => {
                let listener =
                    port.filter(|_| end.is_local).and_then(|port| listeners.0.get(&port).copied().flatten());
                if let Some(listener) = listener {
                    peer.service = Arc::clone(&listener.identity.service);
                    if let Some(place) = listener.place() {
                        peer.namespace = place.namespace.as_str().into();
                        peer.pod = place.pod.as_str().into();
                    }
                }
            }
        }
        Some(self.selected(peer))
    }

    /// With just the labels that were asked for. What has no other keeps its address: or nobody would know what is counted.
    fn selected(&self, mut peer: Peer) -> Peer {
        let asked = |label| self.labels.contains(&label);
        for (label, part) in [
            (PeerLabel::Namespace, &mut peer.namespace),
            (PeerLabel::Pod, &mut peer.pod),
            (PeerLabel::Service, &mut peer.service),
        ] {
            if !asked(label) {
                *part = Arc::default();
            }
        }
        let is_named = [&peer.namespace, &peer.pod, &peer.service].iter().any(|part| !part.is_empty());
        if is_named && !asked(PeerLabel::Address) {
            peer.name = Arc::default();
        }
        peer
    }
}

/// Whether an address is one of this host's: only those can be bound to.
#[must_use]
pub fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn id(name: &str, port: u16, role: Role) -> ServiceId {
        ServiceId { identity: Identity::named(name), port, role, transport: Transport::Tcp }
    }

    fn names(labels: &[PeerLabel]) -> PeerNames {
        let networks = ["198.51.100.0/24=office".parse().unwrap()].into_iter().collect();
        PeerNames::new(networks, labels.to_vec(), None)
    }

    fn called(names: &PeerNames, service: &ServiceId, is_local: bool, network: u32) -> [String; 2] {
        let services = [id("nginx", 80, Role::Server), id("a", 81, Role::Server), id("b", 81, Role::Server)];
        let now = Instant::now();
        let address = "192.0.2.1".parse().unwrap();
        let end = End { service, address, network, is_local, since: now };
        let peer = names.of(&end, &Listeners::among(&services), now).unwrap();
        [peer.name.to_string(), peer.service.to_string()]
    }

    #[test]
    fn a_peer_has_the_name_of_who_listens_there() {
        let names = names(&PeerLabel::ALL);
        assert_eq!(called(&names, &id("curl", 80, Role::Client), true, 0), ["192.0.2.1", "nginx"]);
        assert_eq!(called(&names, &id("curl", 80, Role::Client), false, 0), ["192.0.2.1", ""], "elsewhere");
        assert_eq!(called(&names, &id("curl", 81, Role::Client), true, 0), ["192.0.2.1", ""], "one of two");
        assert_eq!(called(&names, &id("nginx", 80, Role::Server), true, 0), ["192.0.2.1", ""], "a client");
        assert_eq!(called(&names, &id("nginx", 80, Role::Server), false, 1), ["office", ""]);
    }

    #[test]
    fn only_the_labels_that_were_asked_for_are_given() {
        let curl = id("curl", 80, Role::Client);
        assert_eq!(called(&names(&[PeerLabel::Service]), &curl, true, 0), ["", "nginx"]);
        assert_eq!(
            called(&names(&[PeerLabel::Service]), &curl, false, 0),
            ["192.0.2.1", ""],
            "nothing else is known"
        );
        assert_eq!(called(&names(&[PeerLabel::Address]), &curl, true, 0), ["192.0.2.1", ""]);
    }

    #[test]
    fn the_loopback_is_this_hosts_and_a_documentations_address_is_not() {
        assert!(is_local("127.0.0.9".parse().unwrap()));
        assert!(!is_local("203.0.113.77".parse().unwrap()));
    }
}
