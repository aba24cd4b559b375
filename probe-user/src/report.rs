//! What exporters are given each tick: the totals, and what they came to over the window.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use probe_common::{
    exchange::{ABORTED, CANCELLED, Ending, as_class},
    interface::{Family, Transport},
    protocol::Protocol,
    service::Role,
};

use crate::{
    histogram::Histogram,
    resources::Resources,
    settings::ErrorClass,
    snapshot::{RequestKind, ServiceId, Snapshot},
    tier::{Judge, Judgement},
};

/// The latest snapshot, with the rates over the window that ends with it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Totals since the probe started.
    pub snapshot: Arc<Snapshot>,
    /// The rates; none until there are two snapshots to take a difference of.
    pub rates: Option<Rates>,
    /// How requests ended: every protocol that a service ever had requests in.
    pub endings: BTreeMap<ServiceId, BTreeMap<Protocol, Endings>>,
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
    /// Requests per second that clients left without an answer.
    pub cancelled: f64,
    /// Requests per second that were answered and did not fail.
    pub transactions: f64,
    /// The part of the requests that failed, 0 to 1; none if there were no requests.
    pub error_ratio: Option<f64>,
    /// Their durations, of those that clients did not give up.
    pub durations: Histogram,
}

/// How requests ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    /// All that have ended.
    pub all: u64,
    /// Those that failed: by their status, without an answer, or cut short by the server.
    pub failed: u64,
    /// Those that clients left without an answer.
    pub cancelled: u64,
    /// Those whose answer the server cut short.
    pub cut_by_server: u64,
    /// Those whose answer the client cut short.
    pub cut_by_client: u64,
}

impl Endings {
    /// Of so many requests of a kind.
    pub(crate) fn of(kind: &RequestKind, count: u64, errors: ErrorClass) -> Self {
        let if_so = |is: bool| if is { count } else { 0 };
        Self {
            all: count,
            failed: if_so(is_failure(kind, errors)),
            cancelled: if_so(kind.status == CANCELLED),
            cut_by_server: if_so(kind.ending == Ending::CutByServer),
            cut_by_client: if_so(kind.ending == Ending::CutByClient),
        }
    }

    /// Those that were answered and did not fail.
    #[must_use]
    pub const fn succeeded(&self) -> u64 {
        self.all - self.failed - self.cancelled
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.all += other.all;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.cut_by_server += other.cut_by_server;
        self.cut_by_client += other.cut_by_client;
    }

    pub(crate) fn subtract(&mut self, other: Self) {
        self.all -= other.all;
        self.failed -= other.failed;
        self.cancelled -= other.cancelled;
        self.cut_by_server -= other.cut_by_server;
        self.cut_by_client -= other.cut_by_client;
    }
}

/// Whether requests of a kind are failed ones: by their status, or because the server broke off.
fn is_failure(kind: &RequestKind, errors: ErrorClass) -> bool {
    // A class is as bad as its statuses.
    let status = as_class(kind.status).map_or(kind.status, |class| class * 100);
    let least = match errors {
        ErrorClass::Server => 500,
        ErrorClass::ServerAndClient => 400,
    };
    status >= least || status == ABORTED || kind.ending == Ending::CutByServer
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
            sum.cancelled += rates.cancelled;
            sum.transactions += rates.transactions;
            sum.durations.merge(&rates.durations);
        }
        let succeeded = sum.transactions + sum.cancelled;
        sum.error_ratio = (sum.requests > 0.0).then(|| 1.0 - succeeded / sum.requests);
        sum
    }
}

#[cfg(test)]
mod tests {
    use probe_common::protocol::Method;

    use super::*;

    #[test]
    fn client_errors_fail_only_on_request() {
        let of = |status, ending| RequestKind {
            protocol: Protocol::Http1,
            method: Method::Get,
            status,
            route: None,
            ending,
        };
        let failed = |errors| {
            [ABORTED, CANCELLED, 200, 302, 404, 500, 2, 4, 5]
                .map(|status| is_failure(&of(status, Ending::Whole), errors))
        };
        assert_eq!(failed(ErrorClass::Server), [true, false, false, false, false, true, false, false, true]);
        assert_eq!(
            failed(ErrorClass::ServerAndClient),
            [true, false, false, false, true, true, false, true, true]
        );
        for errors in [ErrorClass::Server, ErrorClass::ServerAndClient] {
            assert!(is_failure(&of(200, Ending::CutByServer), errors));
            assert!(!is_failure(&of(200, Ending::CutByClient), errors));
        }
    }
}
