//! What the probe knows at one moment, as plain data: everything after the collector sees only this.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use probe_common::{
    counters::Volume,
    exchange::{ABORTED, CANCELLED, Ending, as_class},
    interface::{ByKind, Transport, Way},
    phase::Phase,
    protocol::{Method, Protocol},
    reason::Reason,
    service::Role,
};

use crate::{feature::FeatureState, histogram::Histogram, identity::Identity, place::Place};

/// One pass over the kernel's maps, with the names of services joined to it. Counters are totals since the probe
/// started.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the pass began.
    pub taken: Instant,
    /// How long it took.
    pub collection: Duration,
    /// The services, by who they are.
    pub services: BTreeMap<ServiceId, Service>,
    /// The interfaces that are counted, by name.
    pub interfaces: BTreeMap<String, InterfaceVolumes>,
    /// Bytes that entered and left the node, each counted once however many interfaces it crossed; none where interfaces
    /// cannot be counted.
    pub node: Option<NodeBytes>,
    /// What escaped measurement, by reason; every reason is there.
    pub unmeasured: Vec<(Reason, u64)>,
    /// How full each of the kernel's tables is.
    pub tables: Vec<Table>,
    /// The features that were wanted, and which of them are missing.
    pub features: Vec<FeatureState>,
}

/// Who a service is: the identity labels of its metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// The name of the unit, container or process; of the caller, if the role is client: and where it runs.
    pub identity: Identity,
    /// The server's port, in both roles; 0 for the service `other`.
    pub port: u16,
    /// On which end of its connections it is.
    pub role: Role,
    /// TCP, or UDP: on the same port the two are two services.
    pub transport: Transport,
}

impl ServiceId {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.service
    }

    /// Where it runs in a Kubernetes cluster; none where there is none.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.identity.place.as_deref()
    }
}

/// What was counted of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Payload received, each byte of a stream once, and of each datagram.
    pub received: Volume,
    /// Payload sent, likewise.
    pub sent: Volume,
    /// Bytes of the IP packets received and sent, indexed by [`probe_common::interface::Way`].
    pub wire: [u64; 2],
    /// Segments that TCP sent again.
    pub retransmitted: u64,
    /// Round-trip times of its connections.
    pub round_trips: Histogram,
    /// Its TCP connections.
    pub connections: Connections,
    /// Distinct clients with a connection open, or with a request or a datagram in the users' window; servers only.
    pub users: u64,
    /// Requests with their durations, by what they were.
    pub requests: BTreeMap<RequestKind, Histogram>,
    /// Times to first byte, by protocol.
    pub first_byte: BTreeMap<Protocol, Histogram>,
    /// Where the time of requests went; of servers only.
    pub phases: BTreeMap<(Protocol, Phase), Histogram>,
    /// With whom it talks, where peers are counted.
    pub peers: BTreeMap<Peer, PeerTotals>,
    /// Requests that wait for their answer: every protocol that the service ever had requests in.
    pub in_flight: BTreeMap<Protocol, InFlight>,
}

/// Requests of a service that have the same labels.
#[derive(Debug)]
pub struct RequestSeries<'a> {
    /// What they were, however their answers ended.
    pub kind: &'a RequestKind,
    /// How many.
    pub count: u64,
    /// The durations of those that clients did not give up; none if they gave up all.
    pub durations: Option<Cow<'a, Histogram>>,
}

impl Service {
    /// Its requests by their labels.
    pub fn request_series(&self) -> impl Iterator<Item = RequestSeries<'_>> {
        let mut kinds = self.requests.iter().peekable();
        std::iter::from_fn(move || {
            let (kind, first) = kinds.next()?;
            let timed =
                |kind: &RequestKind, durations| (!kind.is_given_up()).then_some(Cow::Borrowed(durations));
            let mut series = RequestSeries { kind, count: first.count, durations: timed(kind, first) };
            while let Some((other, durations)) = kinds.next_if(|(other, _)| other.is_labelled_as(kind)) {
                series.count += durations.count;
                series.durations = match (series.durations, timed(other, durations)) {
                    (Some(mut sum), Some(more)) => {
                        sum.to_mut().merge(&more);
                        Some(sum)
                    }
                    (some, more) => some.or(more),
                };
            }
            Some(series)
        })
    }

    /// Adds the histograms of another.
    pub(crate) fn merge_histograms(&mut self, other: Self) {
        merge(&mut self.requests, other.requests);
        merge(&mut self.first_byte, other.first_byte);
        merge(&mut self.phases, other.phases);
        self.round_trips.merge(&other.round_trips);
    }

    /// Payload in a direction.
    #[must_use]
    pub const fn volume(&self, way: Way) -> Volume {
        match way {
            Way::Receive => self.received,
            Way::Transmit => self.sent,
        }
    }
}

/// Adds histograms to those of the same keys. Where there are none yet, as nearly always, they are taken as they are.
fn merge<K: Ord>(into: &mut BTreeMap<K, Histogram>, from: BTreeMap<K, Histogram>) {
    if into.is_empty() {
        *into = from;
        return;
    }
    for (key, histogram) in from {
        into.entry(key).or_default().merge(&histogram);
    }
}

/// With whom a service talks: the other end of its connections.
///
/// What is not known, or was not asked for, is empty, and its label left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its address, or its network's name; `other` for all that found no room.
    pub name: Arc<str>,
    /// The namespace of the pod or service that has the address.
    pub namespace: Arc<str>,
    /// The pod.
    pub pod: Arc<str>,
    /// The service: of the cluster, or of this node.
    pub service: Arc<str>,
}

impl Peer {
    /// One of which no more is known.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The values of its labels.
    #[must_use]
    pub fn labels(&self) -> [&str; 4] {
        [&self.name, &self.namespace, &self.pod, &self.service]
    }
}

/// What was counted of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerTotals {
    /// Requests that were answered, or that ended without an answer.
    pub requests: u64,
    /// Of these, those that failed.
    pub errors: u64,
    /// First byte of the request to last byte of its response, of all of them together.
    pub duration: Duration,
    /// TCP connections that were established.
    pub connections: u64,
}

/// Requests in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// How many.
    pub requests: u64,
    /// How long the oldest one has waited, zero if nothing waits; none if nobody can tell.
    pub oldest: Option<Duration>,
}

/// TCP connections of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Established since the probe started.
    pub opened: u64,
    /// Closed since, of those that the probe knew.
    pub closed: u64,
    /// Open now.
    pub open: u64,
    /// Attempts that were refused or timed out.
    pub failed: u64,
    /// Of those closed, ended by a reset.
    pub reset: u64,
}

/// The labels of a request beyond those of its service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKind {
    /// The protocol.
    pub protocol: Protocol,
    /// The method.
    pub method: Method,
    /// The status code, or its class; [`ABORTED`] or [`CANCELLED`] if there was no answer.
    pub status: u16,
    /// The template of the path, `other` for what has none; none where routes are not counted.
    pub route: Option<Arc<str>>,
    /// How the answer ended. No label: those that differ in this alone follow each other.
    pub ending: Ending,
}

impl RequestKind {
    /// Whether two have the same labels.
    #[must_use]
    pub fn is_labelled_as(&self, other: &Self) -> bool {
        let labels = |kind: &Self| (kind.protocol, kind.method, kind.status);
        labels(self) == labels(other) && self.route == other.route
    }

    /// Whether the client left before the answer was there. How long it took is then the client's doing: such requests count, but
    /// their durations do not.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.status == CANCELLED || self.ending == Ending::CutByClient
    }

    /// The label `status`.
    #[must_use]
    pub fn status_label(&self) -> String {
        match self.status {
            ABORTED => "aborted".to_owned(),
            CANCELLED => "cancelled".to_owned(),
            status => match as_class(status) {
                Some(class) => format!("{class}xx"),
                None => status.to_string(),
            },
        }
    }
}

/// What was counted on an interface, indexed by [`probe_common::interface::Way`], family and transport.
pub type InterfaceVolumes = [ByKind; 2];

/// Bytes of the node, indexed by [`probe_common::interface::Way`].
pub type NodeBytes = [u64; 2];

/// How full a table of the kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it holds.
    pub name: &'static str,
    /// Entries in use.
    pub entries: u64,
    /// Entries that it can hold.
    pub capacity: u64,
    /// What it takes of the kernel's memory, with all that has its size.
    pub bytes: u64,
}
