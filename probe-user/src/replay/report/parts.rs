//! Parts of the document beside the figures of services.

use std::cmp::Reverse;

use serde::Serialize;

use super::{Latency, Ways, label, seconds, time};
use crate::replay::{
    files::Outcome,
    span::Span,
    tally::{self, Tally},
    times::Times,
    watch::{Slow, Watch},
};

/// Requests that wait for their answers when the capture ends.
#[derive(Debug, PartialEq, Serialize)]
pub(in crate::replay) struct Waiting {
    /// Only where routes are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::replay) route: Option<String>,
    pub(in crate::replay) method: &'static str,
    /// Of an answer that has begun; null before that.
    pub(in crate::replay) status: Option<String>,
    pub(in crate::replay) count: u64,
    /// How long the oldest has waited; null where time went back.
    pub(in crate::replay) oldest_seconds: Option<f64>,
}

/// A client of a service.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the document's own names")]
pub(in crate::replay) struct Peer {
    /// Its address; `other` for those that found no room.
    pub(in crate::replay) peer: String,
    pub(in crate::replay) connections: u64,
    pub(in crate::replay) requests: u64,
    pub(in crate::replay) bytes: Ways,
}

/// One of the slowest requests.
#[derive(Debug, Serialize)]
pub(in crate::replay) struct Slowest {
    pub(in crate::replay) service: String,
    /// Address and port.
    pub(in crate::replay) client: String,
    pub(in crate::replay) method: &'static str,
    pub(in crate::replay) status: String,
    /// Only where routes are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::replay) route: Option<String>,
    /// When its first byte came, in RFC 3339.
    pub(in crate::replay) began: Option<String>,
    pub(in crate::replay) duration_seconds: f64,
    /// Null where time went back.
    pub(in crate::replay) time_to_first_byte_seconds: Option<f64>,
}

/// Figures of all services in an interval. Requests are in the one in which they ended.
#[derive(Debug, Serialize)]
pub(in crate::replay) struct Interval {
    /// In RFC 3339: a multiple of the interval since 1970.
    pub(in crate::replay) start: String,
    pub(in crate::replay) requests: u64,
    pub(in crate::replay) client_errors: u64,
    pub(in crate::replay) server_errors: u64,
    pub(in crate::replay) aborted: u64,
    pub(in crate::replay) bytes: Ways,
    pub(in crate::replay) duration: Latency,
}

/// A file.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the document's own names")]
pub(in crate::replay) struct File {
    pub(in crate::replay) file: String,
    pub(in crate::replay) packets: u64,
    /// What kept it from being read to its end.
    pub(in crate::replay) error: Option<String>,
}

impl Waiting {
    pub(super) fn new(kind: &tally::Waiting, waited: &tally::Waited, end: u64) -> Self {
        Self {
            route: kind.route.as_deref().map(str::to_owned),
            method: kind.method.label(),
            status: kind.status.map(label),
            count: waited.count,
            oldest_seconds: Times::between(waited.oldest, end).map(seconds),
        }
    }
}

impl Peer {
    pub(super) fn all(tally: &Tally) -> Vec<Self> {
        let mut peers: Vec<_> = tally
            .peers
            .iter()
            .map(|(address, peer)| Self {
                peer: address.map_or_else(|| "other".to_owned(), |address| address.to_string()),
                connections: peer.connections,
                requests: peer.requests,
                bytes: Ways { received: peer.received, sent: peer.sent },
            })
            .collect();
        peers.sort_by_key(|peer| Reverse(peer.bytes.received.saturating_add(peer.bytes.sent)));
        peers
    }
}

impl Slowest {
    pub(super) fn new(slow: &Slow, span: Option<Span>) -> Self {
        let lasted = slow.ended.lasted;
        let between = |to: u64| Times::between(lasted.began, to).map(seconds);
        Self {
            service: slow.server.to_string(),
            client: slow.client.to_string(),
            method: slow.ended.method.label(),
            status: label(slow.ended.status),
            route: slow.ended.route.as_deref().map(str::to_owned),
            began: span.map(|span| time(span.since_1970(lasted.began))),
            duration_seconds: between(lasted.ended).unwrap_or_default(),
            time_to_first_byte_seconds: between(lasted.answered),
        }
    }
}

impl Interval {
    pub(super) fn all(watch: &Watch) -> Vec<Self> {
        let every = watch.every().unwrap_or_default();
        watch
            .intervals
            .iter()
            .map(|(number, interval)| Self {
                start: time(number.saturating_mul(every)),
                requests: interval.requests,
                client_errors: interval.client_errors,
                server_errors: interval.server_errors,
                aborted: interval.aborted,
                bytes: Ways { received: interval.received, sent: interval.sent },
                duration: Latency::new(&interval.duration),
            })
            .collect()
    }
}

impl From<Outcome> for File {
    fn from(Outcome { name, packets, damage }: Outcome) -> Self {
        Self { file: name, packets, error: damage.as_ref().map(ToString::to_string) }
    }
}
