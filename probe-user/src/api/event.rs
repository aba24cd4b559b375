//! What is sent to those who follow the ticks.

use probe_common::service;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Kubernetes, Latency, Rates, Role, Tick, Transport};
use crate::{
    report::{self, Report, ServiceRates},
    snapshot::{self, ServiceId},
    tier,
};

/// A tick in short. Each one stands for itself, so that nothing has to be made up for by whoever misses some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Of when it is.
    pub tick: Tick,
    /// All servers of the node together.
    pub node: NodeSummary,
    /// The services that have traffic in the window, connections open or requests in flight. One that is not here is idle.
    pub active: Vec<ServiceSummary>,
}

/// All servers of a node together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeSummary {
    /// How many services there are, those that are idle included.
    pub services: u64,
    /// Requests per second over the window.
    pub requests_per_second: f64,
    /// Part of them that failed; null while there are none.
    pub error_ratio: Option<f64>,
    /// Their durations; null while there are none.
    pub request_latency_seconds: Option<Latency>,
    /// The sum of the services' users.
    pub concurrent_users: u64,
    /// Bytes per second that entered and left the node.
    pub bandwidth_bytes_per_second: Rates,
}

/// A service in short, over all protocols.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceSummary {
    /// Name of the unit, container or process.
    pub service: String,
    /// The server's port, in both roles.
    pub port: u16,
    /// On which end of its connections it is.
    pub role: Role,
    /// What its sockets speak.
    pub transport: Transport,
    /// Where it runs in a Kubernetes cluster; null where there is none.
    pub kubernetes: Option<Kubernetes>,
    /// Requests per second over the window.
    pub requests_per_second: f64,
    /// Part of them that failed; null while there are none.
    pub error_ratio: Option<f64>,
    /// Their durations; null while there are none.
    pub request_latency_seconds: Option<Latency>,
    /// Payload per second.
    pub bandwidth_bytes_per_second: Rates,
    /// TCP connections that are open now.
    pub connections_open: u64,
    /// Requests that wait for their answer now.
    pub requests_in_flight: u64,
    /// Distinct clients; null in the role client.
    pub concurrent_users: Option<u64>,
    /// The class of its traffic; null in the role client, and until there are rates.
    pub tier: Option<tier::Tier>,
}

impl Event {
    pub(super) fn of(report: &Report, tick: Tick) -> Self {
        let services = &report.snapshot.services;
        let active =
            services.iter().filter_map(|(id, totals)| ServiceSummary::of(report, id, totals)).collect();
        Self { tick, node: NodeSummary::of(report), active }
    }
}

impl NodeSummary {
    fn of(report: &Report) -> Self {
        let services = &report.snapshot.services;
        let requests =
            report.rates.as_ref().map(|rates| rates.requests(service::Role::Server)).unwrap_or_default();
        let [receive, transmit] = report.rates.as_ref().map(|rates| rates.node).unwrap_or_default();
        Self {
            services: services.len() as u64,
            requests_per_second: requests.requests,
            error_ratio: requests.error_ratio,
            request_latency_seconds: Latency::of(&requests),
            concurrent_users: services.values().map(|service| service.users).sum(),
            bandwidth_bytes_per_second: Rates { receive, transmit },
        }
    }
}

impl ServiceSummary {
    /// None if the service is idle.
    fn of(report: &Report, id: &ServiceId, totals: &snapshot::Service) -> Option<Self> {
        let rates = report.rates.as_ref().and_then(|rates| rates.services.get(id));
        let in_flight = totals.in_flight.values().map(|waiting| waiting.requests).sum();
        let has_traffic = rates.is_some_and(|rates| rates.received + rates.sent > 0.0);
        if !has_traffic && totals.connections.open == 0 && in_flight == 0 {
            return None;
        }
        let requests = rates.map(ServiceRates::all_requests).unwrap_or_default();
        Some(Self {
            service: id.name().to_owned(),
            port: id.port,
            role: id.role.into(),
            transport: id.transport.into(),
            kubernetes: Kubernetes::of(id),
            requests_per_second: requests.requests,
            error_ratio: requests.error_ratio,
            request_latency_seconds: Latency::of(&requests),
            bandwidth_bytes_per_second: rates.map(Rates::of_service).unwrap_or_default(),
            connections_open: totals.connections.open,
            requests_in_flight: in_flight,
            concurrent_users: (id.role == service::Role::Server).then_some(totals.users),
            tier: report.tiers.get(id).map(|judgement| judgement.tier),
        })
    }
}

impl ServiceRates {
    fn all_requests(&self) -> report::RequestRates {
        report::RequestRates::sum(self.requests.values())
    }
}
