//! What exporters are given each tick: the totals, and what they came to over the window.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use probe_common::{
    interface::{Family, Transport},
    protocol::Protocol,
    service::Role,
};

use crate::{
    histogram::Histogram,
    resources::Resources,
    snapshot::{ServiceId, Snapshot},
    tier::{Judge, Judgement},
};

/// The latest snapshot, with the rates over the window that ends with it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Totals since the probe started.
    pub snapshot: Arc<Snapshot>,
    /// The rates; none until there are two snapshots to take a difference of.
    pub rates: Option<Rates>,
    /// The tier of each server; none as long as there are no rates.
    pub tiers: BTreeMap<ServiceId, Judgement>,
    /// What services and the node use.
    pub resources: Arc<Resources>,
}

/// What traffic came to over a window.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// The time that really lies between the first and the last snapshot of the window.
    pub span: Duration,
    /// By service: all those of the snapshot, whether or not they had traffic.
    pub services: BTreeMap<ServiceId, ServiceRates>,
    /// By interface, in bytes per second, indexed by [`probe_common::interface::Way`], family and transport.
    pub interfaces: BTreeMap<String, InterfaceRates>,
    /// Of the node, in bytes per second, indexed by [`probe_common::interface::Way`].
    pub node: [f64; 2],
}

/// Bytes per second on an interface, indexed as [`crate::snapshot::InterfaceVolumes`] is.
pub type InterfaceRates = [[[f64; Transport::ALL.len()]; Family::ALL.len()]; 2];

/// A service's rates.
#[derive(Clone, Debug, Default)]
pub struct ServiceRates {
    /// Payload received, in bytes per second.
    pub received: f64,
    /// Payload sent, in bytes per second.
    pub sent: f64,
    /// TCP connections opened, per second.
    pub opened: f64,
    /// Its requests, by protocol: every protocol that the service ever had requests in.
    pub requests: BTreeMap<Protocol, RequestRates>,
}

/// The requests of a service in one protocol over the window.
#[derive(Clone, Debug, Default)]
pub struct RequestRates {
    /// Requests per second, however they ended.
    pub requests: f64,
    /// Requests per second that did not fail.
    pub transactions: f64,
    /// The part of the requests that failed, 0 to 1; none if there were no requests.
    pub error_ratio: Option<f64>,
    /// Their durations.
    pub durations: Histogram,
}

impl Report {
    /// The report, with the judgement on each server's traffic.
    #[must_use]
    pub fn judged_by(mut self, judge: &mut Judge) -> Self {
        if let Some(rates) = &self.rates {
            self.tiers = judge.judge(&self.snapshot, rates);
        }
        self
    }

    /// The report, with what services and the node use.
    #[must_use]
    pub fn with_resources(mut self, resources: Resources) -> Self {
        self.resources = Arc::new(resources);
        self
    }
}

impl Rates {
    /// The requests of all services in a role, merged.
    #[must_use]
    pub fn requests(&self, role: Role) -> RequestRates {
        let of_role = self.services.iter().filter(|(id, _)| id.role == role);
        RequestRates::sum(of_role.flat_map(|(_, service)| service.requests.values()))
    }
}

impl RequestRates {
    /// Several, merged.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for rates in all {
            sum.requests += rates.requests;
            sum.transactions += rates.transactions;
            sum.durations.merge(&rates.durations);
        }
        sum.error_ratio = (sum.requests > 0.0).then(|| 1.0 - sum.transactions / sum.requests);
        sum
    }
}
