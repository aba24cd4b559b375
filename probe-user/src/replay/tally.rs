//! What is counted of a service.

use std::{collections::BTreeMap, sync::Arc};

use probe_common::{
    connection::Side,
    counters::Volume,
    exchange::{ABORTED, CANCELLED, Ending, Exchange, code_of},
    protocol::Method,
    reason::Reason,
};

use super::{routes::Known, times::Times};

/// The counters of a service, or of what it speaks one protocol on.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Requests that were answered, or that ended without an answer, by method and status.
    pub(super) requests: BTreeMap<(Method, u16), u64>,
    /// The same by route, method and status, where routes are counted.
    pub(super) by_route: BTreeMap<(Arc<str>, Method, u16), u64>,
    routes: Known,
    /// Answers that the client cut short.
    pub(super) cut_by_client: u64,
    /// Answers that the server cut short.
    pub(super) cut_by_server: u64,
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
    /// What escaped, by reason.
    pub(super) unmeasured: BTreeMap<&'static str, u64>,
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
        let status = code_of(exchange.status);
        *self.requests.entry((exchange.method, status)).or_default() += 1;
        if let Some(route) = route {
            let route = self.routes.admit(route);
            *self.by_route.entry((route, exchange.method, status)).or_default() += 1;
        }
        let ending = Ending::of(exchange.status);
        self.cut_by_client += u64::from(ending == Ending::CutByClient);
        self.cut_by_server += u64::from(ending == Ending::CutByServer);
        // How long a client waits that leaves is its own doing.
        if status != CANCELLED {
            self.first_byte.add_from(lasted.began, lasted.answered, 1);
            if ending != Ending::CutByClient {
                self.duration.add_from(lasted.began, lasted.ended, 1);
            }
        }
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
        self.requests.iter().filter(|((_, status), _)| passes(*status)).map(|(_, count)| count).sum()
    }

    /// Requests that got an answer.
    pub(super) fn responses(&self) -> u64 {
        self.count(|status| status != ABORTED && status != CANCELLED)
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.requests {
            *self.requests.entry(*kind).or_default() += count;
        }
        for ((route, method, status), count) in &other.by_route {
            let route = self.routes.admit(Arc::clone(route));
            *self.by_route.entry((route, *method, *status)).or_default() += count;
        }
        self.cut_by_client += other.cut_by_client;
        self.cut_by_server += other.cut_by_server;
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
