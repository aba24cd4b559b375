//! With whom a service talks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{report::Report, snapshot};

/// The other end of connections of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its address, or its network's name; `other` for all that found no room; empty where it was not asked for.
    pub peer: String,
    /// The namespace of the pod or service that has the address; null where it is not known.
    pub peer_namespace: Option<String>,
    /// The pod; null where it is not known.
    pub peer_pod: Option<String>,
    /// The service, of the cluster or of this node; null where it is not known.
    pub peer_service: Option<String>,
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
            peer_namespace: known(&peer.namespace),
            peer_pod: known(&peer.pod),
            peer_service: known(&peer.service),
            peer_requests_total: totals.requests,
            peer_errors_total: totals.errors,
            peer_duration_seconds_total: totals.duration.as_secs_f64(),
            peer_connections_total: totals.connections,
        }
    }
}

fn known(label: &str) -> Option<String> {
    (!label.is_empty()).then(|| label.to_owned())
}
