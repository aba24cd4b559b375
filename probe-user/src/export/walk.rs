//! The walk over all that is shown, in the order of `/metrics`: every figure once, with the metric that it is of.

mod agent;
mod identity_labels;
mod interfaces;
mod peers;
mod process;
mod requests;
mod resources;
mod services;
mod tiers;

use super::sink::Sink;
use crate::report::Report;

pub(super) use process::Process;

/// Shows a sink all of a report, if there is one yet, and what is known of the agent itself.
pub(super) fn walk(report: Option<&Report>, process: &Process, sink: &mut impl Sink) {
    agent::build_info(sink);
    if let Some(report) = report {
        walk_report(report, sink);
    }
    process.walk(sink);
}

fn walk_report(report: &Report, sink: &mut impl Sink) {
    agent::write(sink, &report.snapshot);
    services::totals(sink, &report.snapshot);
    services::endings(sink, &report.endings);
    interfaces::totals(sink, &report.snapshot);
    resources::write(sink, &report.resources);
    if let Some(rates) = &report.rates {
        services::rates(sink, rates);
        interfaces::rates(sink, &report.snapshot, rates);
        tiers::write(sink, report);
    }
}
