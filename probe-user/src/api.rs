//! The JSON API: what a [`crate::report::Report`] looks like at `/api/v1`.
//!
//! A field has the name of its metric without `traffic_`, in the same unit, and holds the same figure. The types here are
//! the one source of truth: they are what is served, what `traffic-probe report` reads, and what the `OpenAPI` description
//! is derived from, which a test compares with `deploy/openapi/traffic-probe.json`.

mod answer;
mod description;
mod documents;
mod event;
mod features;
mod filter;
mod interface;
mod kubernetes;
mod peer;
mod resources;
mod routes;
mod service;
mod stream;
mod tick;
mod tier;

pub use answer::Problem;
pub use event::{Event, NodeSummary, ServiceSummary};
pub use features::{Feature, Features, Missing};
pub use interface::{Interface, InterfaceTraffic, Interfaces, NodeBandwidth};
pub use kubernetes::Kubernetes;
pub use peer::Peer;
pub use resources::{CpuTime, LoadAverages, Node, Pressure, Room, ServiceResources};
pub use routes::router;
pub use service::{
    Amounts, Connections, CutShort, Latency, Outcomes, Phase, Rates, RequestKind, Requests, Role, Service,
    Services, Summary, Transport,
};
pub use tick::Tick;
pub use tier::{Load, ServiceTier, Tier, Tiers};

#[cfg(test)]
mod tests;
