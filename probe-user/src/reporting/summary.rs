//! What a report says of each service.

use serde::Serialize;

use crate::api::{self, Latency, Rates, Service, Services, Tick, Tier, Transport};

/// What is shown, or given to a program.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) tick: Tick,
    /// The busiest first.
    pub(super) services: Vec<Line>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) service: String,
    pub(super) port: u16,
    pub(super) transport: Transport,
    /// None until there are rates.
    pub(super) tier: Option<Tier>,
    pub(super) bandwidth_bytes_per_second: Option<Rates>,
    pub(super) concurrent_users: u64,
    /// A protocol each; none for a service without requests.
    pub(super) requests: Vec<InProtocol>,
}

/// Requests in one protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct InProtocol {
    pub(super) protocol: String,
    pub(super) requests_per_second: Option<f64>,
    pub(super) request_latency_seconds: Option<Latency>,
    pub(super) error_ratio: Option<f64>,
}

impl Report {
    pub(super) fn of(services: &Services) -> Self {
        let mut lines: Vec<_> = services.services.iter().map(Line::of).collect();
        // Sorting is stable: the agent has them by name.
        lines.sort_by(|left, right| {
            let load = |line: &Line| line.tier.as_ref().map_or(0.0, |tier| tier.load_ratio);
            let class = |line: &Line| line.tier.as_ref().map(|tier| tier.class);
            class(right).cmp(&class(left)).then(load(right).total_cmp(&load(left)))
        });
        Self { tick: services.tick, services: lines }
    }
}

impl Line {
    fn of(service: &Service) -> Self {
        Self {
            service: service.service.clone(),
            port: service.port,
            transport: service.transport,
            tier: service.tier.clone(),
            bandwidth_bytes_per_second: service.bandwidth_bytes_per_second,
            concurrent_users: service.concurrent_users.unwrap_or_default(),
            requests: service.requests.iter().map(InProtocol::of).collect(),
        }
    }
}

impl InProtocol {
    fn of(requests: &api::Requests) -> Self {
        Self {
            protocol: requests.protocol.clone(),
            requests_per_second: requests.requests_per_second,
            request_latency_seconds: requests.request_latency_seconds,
            error_ratio: requests.error_ratio,
        }
    }
}
