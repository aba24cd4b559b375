//! What leaves the node: what a [`crate::report::Report`] looks like at `/metrics`.
//!
//! The text is written here, and not by the `prometheus` crate's encoder: that one takes every bucket of every series as
//! an object of its own, which for 10,000 histograms was 135 ms and 200 MB a scrape. The crate has the agent's `process_*`.

mod agent;
mod family;
mod identity_labels;
mod interfaces;
pub mod names;
mod page;
mod peers;
mod requests;
mod resources;
mod services;
mod tiers;

use std::{sync::Arc, time::Instant};

use prometheus::{Registry, TextEncoder, process_collector::ProcessCollector};

pub use page::Gone;

use crate::{latest::Latest, report::Report};
use page::Page;

/// The content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the latest report and the agent's own process metrics.
#[derive(Clone, Debug)]
pub struct Exposition {
    latest: Arc<Latest>,
    process: Registry,
}

impl Exposition {
    /// An exposition of what `latest` holds at each scrape.
    pub fn new(latest: Arc<Latest>) -> Result<Self, prometheus::Error> {
        let process = Registry::new();
        process.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { latest, process })
    }

    /// Writes the metrics in Prometheus' text format, in pieces of some 64 KiB, each of whole lines.
    ///
    /// Returns when the figures were taken; none if there are none yet. The error is that of `send`: whoever asked has gone.
    pub fn write(&self, send: &mut dyn FnMut(String) -> Result<(), Gone>) -> Result<Option<Instant>, Gone> {
        let mut page = Page::new(send);
        agent::build_info(&mut page);
        let report = self.latest.get();
        if let Some(report) = &report {
            write(&mut page, report);
        }
        match TextEncoder::new().encode_to_string(&self.process.gather()) {
            Ok(text) => page.append(&text),
            Err(error) => tracing::error!("cannot tell the metrics of the agent's own process: {error}"),
        }
        page.finish()?;
        Ok(report.map(|report| report.snapshot.taken))
    }
}

fn write(page: &mut Page<'_>, report: &Report) {
    agent::write(page, &report.snapshot);
    services::totals(page, &report.snapshot);
    services::endings(page, &report.endings);
    interfaces::totals(page, &report.snapshot);
    resources::write(page, &report.resources);
    if let Some(rates) = &report.rates {
        services::rates(page, rates);
        interfaces::rates(page, &report.snapshot, rates);
        tiers::write(page, report);
    }
}

#[cfg(test)]
pub(crate) mod tests;
