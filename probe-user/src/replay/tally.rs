//! What is counted of a service.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use probe_common::{
    connection::Side,
    counters::Volume,
    exchange::{ABORTED, Exchange},
    protocol::Method,
    reason::Reason,
};

use super::{routes::Known, times::Times};

/// The counters of a service, or of what it speaks one protocol on.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Requests that were answered, or that ended without an answer, by method and status.
    pub(super) requests: BTreeMap<(Method, u16), Times>,
    /// The same by route, method and status, where routes are counted.
    pub(super) by_route: BTreeMap<(Arc<str>, Method, u16), Times>,
    routes: Known,
    /// To the last byte of the response.
    pub(super) duration: Times,
    /// To its first byte.
    pub(super) first_byte: Times,
    /// From the first byte of a response until the client has acknowledged its last one.
    pub(super) delivery: Times,
    /// Payload of clients, each byte of a stream once, and the packets that it came in.
    pub(super) received: Volume,
    /// Payload of the server, likewise.
    pub(super) sent: Volume,
    /// Segments of clients that bear nothing but what was seen before.
    pub(super) received_again: u64,
    /// Segments of the server, likewise.
    pub(super) sent_again: u64,
    pub(super) connections: Connections,
    /// Requests without an answer when the capture ended.
    pub(super) in_flight: u64,
    /// The same by what is known of them.
    pub(super) waiting: BTreeMap<Waiting, Waited>,
    /// What came from clients and went to them, by their address; none stands for those that found no room.
    pub(super) peers: BTreeMap<Option<IpAddr>, Peer>,
    /// What escaped, by reason.
    pub(super) unmeasured: BTreeMap<&'static str, u64>,
}

/// A kind of requests that wait for their answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    /// None where routes are not counted.
    pub(super) route: Option<Arc<str>>,
    pub(super) method: Method,
    /// Where the answer has begun.
    pub(super) status: Option<u16>,
}

/// How many of a kind wait, and since when the oldest does, by the engine's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited {
    pub(super) count: u64,
    pub(super) oldest: u64,
}

/// Clients of a service that are told apart; those beyond are one.
const PEERS: usize = 1_000;

/// What is counted of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) connections: u64,
    pub(super) requests: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Peer {
    pub(super) fn add(&mut self, more: &Self) {
        self.connections += more.connections;
        self.requests += more.requests;
        self.received = self.received.saturating_add(more.received);
        self.sent = self.sent.saturating_add(more.sent);
    }
}

/// When a request began, when its answer did, and when that had ended, by the engine's clock: which may go back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasted {
    pub(super) began: u64,
    pub(super) answered: u64,
    pub(super) ended: u64,
}

/// What became of a service's connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Connections {
    /// Established within the capture.
    pub(super) opened: u64,
    /// Older than the capture.
    pub(super) joined: u64,
    /// Ended, of those opened or joined.
    pub(super) closed: u64,
    /// Of those closed: by a reset.
    pub(super) reset: u64,
    /// Of those closed: their end is not in the capture, but another connection of the same addresses and ports is.
    pub(super) reused: u64,
    /// Refused, or given up.
    pub(super) failed: u64,
    /// Asked for, and not established when the capture ended.
    pub(super) half_open: u64,
    /// Open when the capture ended.
    pub(super) open: u64,
    /// No longer followed, to make room for others.
    pub(super) evicted: u64,
}

impl Tally {
    /// Counts a request that has come to its end, as the kernel does.
    pub(super) fn ended(&mut self, exchange: &Exchange, lasted: &Lasted, route: Option<Arc<str>>) {
        let add = |times: &mut Times| times.add_from(lasted.began, lasted.ended, 1);
        add(self.requests.entry((exchange.method, exchange.status)).or_default());
        if let Some(route) = route {
            let route = self.routes.admit(route);
            add(self.by_route.entry((route, exchange.method, exchange.status)).or_default());
        }
        add(&mut self.duration);
        self.first_byte.add_from(lasted.began, lasted.answered, 1);
    }

    /// Counts requests that wait for their answers when the capture ends.
    pub(super) fn waits(&mut self, kind: Waiting, waited: Waited) {
        let all = self.waiting.entry(kind).or_insert(Waited { count: 0, oldest: u64::MAX });
        all.count += waited.count;
        all.oldest = all.oldest.min(waited.oldest);
    }

    /// What is counted of a client.
    pub(super) fn peer(&mut self, address: Option<IpAddr>) -> &mut Peer {
        let known = self.peers.contains_key(&address) || self.peers.len() < PEERS;
        self.peers.entry(address.filter(|_| known)).or_default()
    }

    /// Counts what escaped the engine.
    pub(super) fn escaped(&mut self, reason: Reason) {
        self.missed(reason.label(), 1);
    }

    /// Counts what escaped.
    pub(super) fn missed(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.unmeasured.entry(reason).or_default() += count;
        }
    }

    /// Adds what came from one end.
    pub(super) fn volume(&mut self, side: Side, more: Volume, again: u64) {
        let (volume, repeated) = match side {
            Side::Request => (&mut self.received, &mut self.received_again),
            Side::Response => (&mut self.sent, &mut self.sent_again),
        };
        add(volume, more);
        *repeated += again;
    }

    /// How many requests there were whose status passes.
    pub(super) fn count(&self, passes: impl Fn(u16) -> bool) -> u64 {
        self.requests.iter().filter(|((_, status), _)| passes(*status)).map(|(_, times)| times.all()).sum()
    }

    /// Requests that got an answer.
    pub(super) fn responses(&self) -> u64 {
        self.count(|status| status != ABORTED)
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (kind, times) in &other.requests {
            self.requests.entry(*kind).or_default().merge(times);
        }
        for ((route, method, status), times) in &other.by_route {
            let route = self.routes.admit(Arc::clone(route));
            self.by_route.entry((route, *method, *status)).or_default().merge(times);
        }
        for (kind, waited) in &other.waiting {
            self.waits(kind.clone(), *waited);
        }
        for (address, peer) in &other.peers {
            self.peer(*address).add(peer);
        }
        self.duration.merge(&other.duration);
        self.first_byte.merge(&other.first_byte);
        self.delivery.merge(&other.delivery);
        add(&mut self.received, other.received);
        add(&mut self.sent, other.sent);
        self.connections.merge(&other.connections);
        self.received_again += other.received_again;
        self.sent_again += other.sent_again;
        self.in_flight += other.in_flight;
        for (reason, count) in &other.unmeasured {
            self.missed(reason, *count);
        }
    }
}

impl Connections {
    fn merge(&mut self, other: &Self) {
        let Self { opened, joined, closed, reset, reused, failed, half_open, open, evicted } = other;
        self.opened += opened;
        self.joined += joined;
        self.closed += closed;
        self.reset += reset;
        self.reused += reused;
        self.failed += failed;
        self.half_open += half_open;
        self.open += open;
        self.evicted += evicted;
    }
}

fn add(volume: &mut Volume, more: Volume) {
    volume.bytes = volume.bytes.saturating_add(more.bytes);
    volume.packets += more.packets;
}
