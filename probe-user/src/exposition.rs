//! The Prometheus exposition: what a [`crate::report::Report`] looks like at `/metrics`.

mod agent;
mod collector;
mod family;
mod interfaces;
pub mod names;
mod resources;
mod services;
mod text;
mod tiers;

use std::sync::Arc;

use prometheus::{Registry, process_collector::ProcessCollector};

pub use text::CONTENT_TYPE;

use crate::latest::Latest;
use collector::ReportCollector;

/// Renders the latest report and the agent's own process metrics.
#[derive(Clone, Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// An exposition of what `latest` holds at each scrape.
    pub fn new(latest: Arc<Latest>) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ReportCollector::new(latest)?))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { registry })
    }

    /// The metrics in Prometheus' text format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        text::encode(&self.registry.gather())
    }
}

#[cfg(test)]
pub(crate) mod tests;
