//! With whom a service talks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{report::Report, snapshot};

/// The other end of connections of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its address; `other` for all that found no room.
    pub peer: String,
    /// Requests that were answered, or that ended without an answer.
    pub peer_requests_total: u64,
    /// Requests that failed.
    pub peer_errors_total: u64,
    /// How long the requests took together, in seconds.
    pub peer_duration_seconds_total: f64,
    /// TCP connections that were established.
    pub peer_connections_total: u64,
}

impl Peer {
    /// All of a service; none where peers are not counted, as the kernel has no table of them.
    pub(super) fn all_of(report: &Report, service: &snapshot::Service) -> Option<Vec<Self>> {
        let counted = report.snapshot.tables.iter().any(|table| table.name == "peers");
        counted.then(|| service.peers.iter().map(Self::of).collect())
    }

    fn of((peer, totals): (&snapshot::Peer, &snapshot::PeerTotals)) -> Self {
        Self {
            peer: peer.name.to_string(),
            peer_requests_total: totals.requests,
            peer_errors_total: totals.errors,
            peer_duration_seconds_total: totals.duration.as_secs_f64(),
            peer_connections_total: totals.connections,
        }
    }
}
