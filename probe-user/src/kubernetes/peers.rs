//! Which pod or service of the cluster has an address, as its `EndpointSlices` and `Services` tell.
//!
//! Two watches over all namespaces, only where they are asked for (`--peers-from endpointslices`). A pod is told by the
//! slices of the services that it is behind: one that is behind none, as one that only calls, is not told.

mod endpoints;
mod objects;
mod watch;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::runtime::Runtime;

use endpoints::Endpoints;

use super::locked;
use crate::settings::ClusterSettings;

/// What is known of the cluster's addresses.
#[derive(Clone, Debug)]
pub struct PeerDirectory(Arc<Mutex<Endpoints>>);

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerAnswer {
    /// Whose it is.
    Known(Arc<Backend>),
    /// The API server may be about to tell.
    NotYet,
    /// It is none of the cluster's that the API server told of.
    Unknown,
}

/// Whose an address is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backend {
    /// The namespace of the service.
    pub(crate) namespace: String,
    /// The service.
    pub(crate) service: String,
    /// The pod behind it; empty where the address is the service's own.
    pub(crate) pod: String,
}

impl PeerDirectory {
    /// Begins to watch on `runtime`; none where this is no node of a cluster, or was not to be looked for.
    #[must_use]
    pub fn follow(settings: &ClusterSettings, runtime: &Runtime) -> Option<Self> {
        if !super::is_in_cluster(settings.access) {
            tracing::warn!(
                "--peers-from has no effect: no Kubernetes cluster is configured; see --kubernetes"
            );
            return None;
        }
        let endpoints = Arc::new(Mutex::new(Endpoints::new(Instant::now())));
        watch::spawn(runtime, &endpoints);
        Some(Self(endpoints))
    }

    /// Whose an address is, at a port if that is known; first seen at `since`.
    pub(crate) fn find(
        &self,
        address: IpAddr,
        port: Option<u16>,
        since: Instant,
        now: Instant,
    ) -> PeerAnswer {
        locked(&self.0).find(address, port, since, now)
    }
}
