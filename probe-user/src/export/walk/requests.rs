//! What is known of services' requests.

use std::collections::BTreeMap;

use probe_common::protocol::Protocol;

use super::{
    super::{names, sink::Sink},
    identity_labels::IdentityLabels,
    services::Labelled,
};
use crate::{
    report::{Endings, RequestRates, ServiceRates},
    snapshot::{RequestKind, Service},
};

/// The quantiles of `traffic_request_latency_seconds`, with their labels.
const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.95", 0.95), ("0.99", 0.99)];

pub(super) fn totals(sink: &mut impl Sink, services: &[Labelled<'_, Service>]) {
    let mut total = sink.family(&names::REQUESTS);
    for (identity, service) in services {
        for series in service.request_series() {
            let status = series.kind.status_label();
            total.add_at(
                identity.place,
                &request_labels(identity, series.kind, &status),
                series.count as f64,
            );
        }
    }
    let mut duration = sink.family(&names::REQUEST_DURATION);
    for (identity, service) in services {
        for series in service.request_series() {
            let status = series.kind.status_label();
            if let Some(durations) = series.durations {
                let labels = request_labels(identity, series.kind, &status);
                duration.add_histogram(identity.place, &labels, &durations);
            }
        }
    }
    parts(sink, services);
    waiting(sink, services);
}

/// The parts of their time.
fn parts(sink: &mut impl Sink, services: &[Labelled<'_, Service>]) {
    let mut first_byte = sink.family(&names::TIME_TO_FIRST_BYTE);
    for (identity, service) in services {
        let [name, port, role] = identity.labels();
        for (protocol, times) in &service.first_byte {
            first_byte.add_histogram(identity.place, &[name, port, role, protocol.label()], times);
        }
    }
    let mut phases = sink.family(&names::REQUEST_PHASE);
    for (identity, service) in services {
        let [name, port, role] = identity.labels();
        for ((protocol, phase), times) in &service.phases {
            let labels = [name, port, role, protocol.label(), phase.label()];
            phases.add_histogram(identity.place, &labels, times);
        }
    }
}

fn waiting(sink: &mut impl Sink, services: &[Labelled<'_, Service>]) {
    let mut in_flight = sink.family(&names::REQUESTS_IN_FLIGHT);
    for (identity, service) in services {
        let [name, port, role] = identity.labels();
        for (protocol, waiting) in &service.in_flight {
            let labels = [name, port, role, protocol.label()];
            in_flight.add_at(identity.place, &labels, waiting.requests as f64);
        }
    }
    let mut oldest = sink.family(&names::OLDEST_REQUEST_AGE);
    for (identity, service) in services {
        let [name, port, role] = identity.labels();
        for (protocol, waiting) in &service.in_flight {
            let labels = [name, port, role, protocol.label()];
            if let Some(age) = waiting.oldest {
                oldest.add_at(identity.place, &labels, age.as_secs_f64());
            }
        }
    }
}

/// How requests ended.
pub(super) fn endings(sink: &mut impl Sink, services: &[Labelled<'_, BTreeMap<Protocol, Endings>>]) {
    let mut outcomes = sink.family(&names::REQUEST_OUTCOMES);
    for (identity, protocols) in services {
        let [name, port, role] = identity.labels();
        for (protocol, endings) in *protocols {
            let of_outcomes = [
                ("success", endings.succeeded()),
                ("failure", endings.failed),
                ("cancelled", endings.cancelled),
            ];
            for (outcome, count) in of_outcomes {
                let labels = [name, port, role, protocol.label(), outcome];
                outcomes.add_at(identity.place, &labels, count as f64);
            }
        }
    }
    let mut cut = sink.family(&names::RESPONSES_CUT_SHORT);
    for (identity, protocols) in services {
        let [name, port, role] = identity.labels();
        for (protocol, endings) in *protocols {
            for (by, count) in [("client", endings.cut_by_client), ("server", endings.cut_by_server)] {
                cut.add_at(identity.place, &[name, port, role, protocol.label(), by], count as f64);
            }
        }
    }
}

fn request_labels<'a>(
    identity: &'a IdentityLabels<'_>,
    kind: &'a RequestKind,
    status: &'a str,
) -> [&'a str; 7] {
    let [name, port, role] = identity.labels();
    let route = kind.route.as_deref().unwrap_or_default();
    [name, port, role, kind.protocol.label(), kind.method.label(), status, route]
}

pub(super) fn rates(sink: &mut impl Sink, services: &[Labelled<'_, ServiceRates>]) {
    type Of = fn(&RequestRates) -> Option<f64>;
    let gauges: [(_, Of); 3] = [
        (&names::REQUESTS_PER_SECOND, |rates| Some(rates.requests)),
        (&names::TRANSACTIONS_PER_SECOND, |rates| Some(rates.transactions)),
        (&names::ERROR_RATIO, |rates| rates.error_ratio),
    ];
    for (metric, of) in gauges {
        let mut family = sink.family(metric);
        for (identity, service) in services {
            let [name, port, role] = identity.labels();
            for (protocol, rates) in &service.requests {
                if let Some(value) = of(rates) {
                    family.add_at(identity.place, &[name, port, role, protocol.label()], value);
                }
            }
        }
    }
    let mut latency = sink.family(&names::REQUEST_LATENCY);
    for (identity, service) in services {
        let [name, port, role] = identity.labels();
        for (protocol, rates) in &service.requests {
            let average = ("avg", rates.durations.average());
            let quantiles = QUANTILES.map(|(label, quantile)| (label, rates.durations.quantile(quantile)));
            for (label, value) in [average].into_iter().chain(quantiles) {
                if let Some(value) = value {
                    latency.add_at(identity.place, &[name, port, role, protocol.label(), label], value);
                }
            }
        }
    }
}
