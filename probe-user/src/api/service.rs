//! A service, with its totals and its rates.

use probe_common::{interface, protocol::Protocol, service};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Kubernetes, Peer, ServiceResources, Tick, Tier};
use crate::{
    histogram::Histogram,
    report::{Endings, Report, RequestRates, ServiceRates},
    snapshot::{self, RequestSeries, ServiceId},
};

/// Services with their figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Services {
    /// Of when they are.
    pub tick: Tick,
    /// A service each; one name may be several, by port, role and transport.
    pub services: Vec<Service>,
}

/// A service: a name at a port, in one role and over one transport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Name of the unit, container or process; of the caller, if the role is client.
    pub service: String,
    /// The server's port, in both roles.
    pub port: u16,
    /// On which end of its connections it is.
    pub role: Role,
    /// What its sockets speak.
    pub transport: Transport,
    /// Where it runs in a Kubernetes cluster; null where there is none.
    pub kubernetes: Option<Kubernetes>,
    /// Payload, in bytes: of TCP each byte of a stream once, of UDP that of each datagram.
    pub bytes_total: Amounts,
    /// Bytes of the IP packets, headers and what TCP sent again included.
    pub wire_bytes_total: Amounts,
    /// Packets on the wire, or datagrams.
    pub packets_total: Amounts,
    /// Payload per second over the window; null until there are rates.
    pub bandwidth_bytes_per_second: Option<Rates>,
    /// Its connections; null over UDP.
    pub connections: Option<Connections>,
    /// Distinct clients; null in the role client.
    pub concurrent_users: Option<u64>,
    /// Its requests, by protocol.
    pub requests: Vec<Requests>,
    /// With whom it talks; null where peers are not counted.
    pub peers: Option<Vec<Peer>>,
    /// What was judged of its traffic; null in the role client, and until there are rates.
    pub tier: Option<Tier>,
    /// What all services of this name use together; null where its cgroups are not its own.
    pub resources: Option<ServiceResources>,
}

/// On which end of its connections a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It accepted them, or listens.
    Server,
    /// It made them.
    Client,
}

/// What the sockets of a service speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP; its metrics are those without the label `transport`.
    Tcp,
    /// UDP.
    Udp,
}

/// Amounts both ways, as the service or the node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Amounts {
    /// Received.
    pub receive: u64,
    /// Sent.
    pub transmit: u64,
}

/// Bytes per second both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Received.
    pub receive: f64,
    /// Sent.
    pub transmit: f64,
}

/// TCP connections of a service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Connections {
    /// Open now.
    pub connections_open: u64,
    /// Established.
    pub connections_opened_total: u64,
    /// Closed, of those that the probe knew.
    pub connections_closed_total: u64,
    /// Attempts that were refused or timed out.
    pub connection_failures_total: u64,
    /// Of those closed, ended by a reset.
    pub connection_resets_total: u64,
    /// Segments that were sent again.
    pub tcp_retransmits_total: u64,
    /// TCP's smoothed round-trip time; null until one was seen.
    pub tcp_rtt_seconds: Option<Summary>,
}

/// A histogram's count and sum; its buckets are at `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

/// Requests of a service in one protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Requests {
    /// `http1`.
    pub protocol: String,
    /// Requests that were answered, or that ended without an answer.
    pub requests_total: u64,
    /// The same, by what they were.
    pub kinds: Vec<RequestKind>,
    /// First byte of the request to first byte of its response; null until there was one.
    pub time_to_first_byte_seconds: Option<Summary>,
    /// Where the time of requests went; of servers only.
    pub request_phase_seconds: Vec<Phase>,
    /// Requests whose response is not complete yet.
    pub requests_in_flight: u64,
    /// How long the oldest of them has waited; 0 while there is none, null without the feature `oldest`.
    pub oldest_request_age_seconds: Option<f64>,
    /// Requests per second over the window, however they ended; null until there are rates.
    pub requests_per_second: Option<f64>,
    /// The same by what they came to.
    pub request_outcomes_total: Outcomes,
    /// Responses that were not all there when the connection ended.
    pub responses_cut_short_total: CutShort,
    /// Requests per second over the window that were answered and did not fail; null until there are rates.
    pub transactions_per_second: Option<f64>,
    /// Duration of the requests of the window; null while there are none.
    pub request_latency_seconds: Option<Latency>,
    /// Part of the requests of the window that failed, 0 to 1; null while there are none.
    pub error_ratio: Option<f64>,
}

/// What requests came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcomes {
    /// Answered, and no failure.
    pub success: u64,
    /// By their status, left by the server without an answer, or cut short by it.
    pub failure: u64,
    /// Left by the client without an answer.
    pub cancelled: u64,
}

/// Responses that were cut short, by who ended the connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CutShort {
    /// By the client.
    pub client: u64,
    /// By the server.
    pub server: u64,
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestKind {
    /// The method; `OTHER` for those that are not told apart.
    pub method: String,
    /// The three digits of the response, its class as `2xx` where there was no room to tell more statuses apart, `aborted` if the
    /// server left without an answer, or `cancelled` if the client did.
    pub status: String,
    /// The template of the path; null where routes are not counted.
    pub route: Option<String>,
    /// How many there were.
    pub requests_total: u64,
    /// First byte of the request to last byte of its response, of those that clients did not give up; null if they gave up all.
    pub request_duration_seconds: Option<Summary>,
}

/// A part of the time of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Phase {
    /// `queue`, `service` or `delivery`.
    pub phase: String,
    /// How many requests were in it.
    pub count: u64,
    /// How long they were, in seconds together.
    pub sum: f64,
}

/// Durations of the requests of the window, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Their average.
    pub avg: f64,
    /// The quantile 0.5.
    pub p50: f64,
    /// The quantile 0.95.
    pub p95: f64,
    /// The quantile 0.99.
    pub p99: f64,
}

impl Service {
    /// What a report says of a service of its snapshot.
    pub(super) fn of(report: &Report, id: &ServiceId, totals: &snapshot::Service) -> Self {
        let rates = report.rates.as_ref().and_then(|rates| rates.services.get(id));
        let is_server = id.role == service::Role::Server;
        let is_tcp = id.transport == interface::Transport::Tcp;
        let [receive, transmit] = totals.wire;
        Self {
            service: id.name().to_owned(),
            port: id.port,
            role: id.role.into(),
            transport: id.transport.into(),
            kubernetes: Kubernetes::of(id),
            bytes_total: Amounts { receive: totals.received.bytes, transmit: totals.sent.bytes },
            wire_bytes_total: Amounts { receive, transmit },
            packets_total: Amounts { receive: totals.received.packets, transmit: totals.sent.packets },
            bandwidth_bytes_per_second: rates.map(Rates::of_service),
            connections: is_tcp.then(|| Connections::of(totals)),
            concurrent_users: is_server.then_some(totals.users),
            requests: Protocol::MEASURED
                .into_iter()
                .filter_map(|protocol| {
                    let endings = report.endings.get(id).and_then(|endings| endings.get(&protocol));
                    Requests::of(protocol, totals, rates, endings.copied().unwrap_or_default())
                })
                .collect(),
            peers: Peer::all_of(report, totals),
            tier: report.tiers.get(id).map(Tier::from),
            resources: report.resources.services.get(&id.identity).map(ServiceResources::from),
        }
    }
}

impl Rates {
    pub(super) fn of_service(rates: &ServiceRates) -> Self {
        Self { receive: rates.received, transmit: rates.sent }
    }
}

impl Connections {
    fn of(totals: &snapshot::Service) -> Self {
        let snapshot::Connections { opened, closed, open, failed, reset } = totals.connections;
        Self {
            connections_open: open,
            connections_opened_total: opened,
            connections_closed_total: closed,
            connection_failures_total: failed,
            connection_resets_total: reset,
            tcp_retransmits_total: totals.retransmitted,
            tcp_rtt_seconds: (totals.round_trips.count > 0).then(|| Summary::of(&totals.round_trips)),
        }
    }
}

impl Summary {
    fn of(histogram: &Histogram) -> Self {
        Self { count: histogram.count, sum: histogram.sum as f64 / 1e9 }
    }
}

impl Requests {
    /// None if the service never had requests in that protocol.
    fn of(
        protocol: Protocol,
        totals: &snapshot::Service,
        rates: Option<&ServiceRates>,
        endings: Endings,
    ) -> Option<Self> {
        let kinds: Vec<_> = totals
            .request_series()
            .filter(|series| series.kind.protocol == protocol)
            .map(|series| RequestKind::of(&series))
            .collect();
        let waiting = totals.in_flight.get(&protocol);
        if kinds.is_empty() && waiting.is_none() {
            return None;
        }
        let rates = rates.and_then(|rates| rates.requests.get(&protocol));
        let waiting = waiting.copied().unwrap_or_default();
        Some(Self {
            protocol: protocol.label().to_owned(),
            requests_total: kinds.iter().map(|kind| kind.requests_total).sum(),
            kinds,
            time_to_first_byte_seconds: totals.first_byte.get(&protocol).map(Summary::of),
            request_phase_seconds: phases(protocol, totals),
            requests_in_flight: waiting.requests,
            oldest_request_age_seconds: waiting.oldest.map(|age| age.as_secs_f64()),
            request_outcomes_total: Outcomes {
                success: endings.succeeded(),
                failure: endings.failed,
                cancelled: endings.cancelled,
            },
            responses_cut_short_total: CutShort {
                client: endings.cut_by_client,
                server: endings.cut_by_server,
            },
            requests_per_second: rates.map(|rates| rates.requests),
            transactions_per_second: rates.map(|rates| rates.transactions),
            request_latency_seconds: rates.and_then(Latency::of),
            error_ratio: rates.and_then(|rates| rates.error_ratio),
        })
    }
}

fn phases(protocol: Protocol, totals: &snapshot::Service) -> Vec<Phase> {
    totals
        .phases
        .iter()
        .filter(|((of, _), _)| *of == protocol)
        .map(|((_, phase), times)| {
            let Summary { count, sum } = Summary::of(times);
            Phase { phase: phase.label().to_owned(), count, sum }
        })
        .collect()
}

impl RequestKind {
    fn of(series: &RequestSeries<'_>) -> Self {
        Self {
            method: series.kind.method.label().to_owned(),
            status: series.kind.status_label(),
            route: series.kind.route.as_deref().map(str::to_owned),
            requests_total: series.count,
            request_duration_seconds: series.durations.as_deref().map(Summary::of),
        }
    }
}

impl Latency {
    /// None if there were no requests.
    pub(super) fn of(rates: &RequestRates) -> Option<Self> {
        let durations = &rates.durations;
        Some(Self {
            avg: durations.average()?,
            p50: durations.quantile(0.5)?,
            p95: durations.quantile(0.95)?,
            p99: durations.quantile(0.99)?,
        })
    }
}

impl From<service::Role> for Role {
    fn from(role: service::Role) -> Self {
        match role {
            service::Role::Server => Self::Server,
            service::Role::Client => Self::Client,
        }
    }
}

impl From<interface::Transport> for Transport {
    /// Services are over one of the two.
    fn from(transport: interface::Transport) -> Self {
        if transport == interface::Transport::Udp { Self::Udp } else { Self::Tcp }
    }
}
