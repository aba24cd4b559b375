//! A report in one line.

use std::collections::BTreeSet;

use probe_common::service::Role;

use crate::{
    figures::{duration, grouped, rate},
    report::Report,
    snapshot::ServiceId,
};

/// Between the parts of the line.
pub(super) const SEPARATOR: &str = " · ";

/// What a node does, in one line: `3 services · 1,234 req/s · in 1.2, out 34.5 Mbit/s · 17 users · P99 12.3 ms`.
#[must_use]
pub fn summary(report: &Report) -> String {
    let services = &report.snapshot.services;
    let names: BTreeSet<_> = services.keys().map(ServiceId::name).collect();
    let users: u64 = services.values().map(|service| service.users).sum();
    let mut parts = vec![count(names.len() as u64, "service")];
    if let Some(rates) = &report.rates {
        // What this node serves; if it serves nothing, what it asks of others.
        let [served, made] = Role::ALL.map(|role| rates.requests(role));
        let (requests, made) = if served.durations.count == 0 && made.durations.count > 0 {
            (made, " made")
        } else {
            (served, "")
        };
        parts.push(format!("{} req/s{made}", rate(requests.requests)));
        // Not `sum()`, which of nothing is -0.
        let [received, sent] = rates
            .services
            .values()
            .fold([0.0, 0.0], |[received, sent], rates| [received + rates.received, sent + rates.sent]);
        parts.push(bandwidth(received * 8.0, sent * 8.0));
        parts.push(count(users, "user"));
        parts.extend(requests.durations.quantile(0.99).map(|p99| format!("P99 {}", duration(p99))));
    }
    parts.join(SEPARATOR)
}

fn count(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// Both ways in one unit, which keeps the line short.
fn bandwidth(received: f64, sent: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")];
    let unit = UNITS.iter().find(|(size, _)| received.max(sent) >= *size);
    unit.map_or_else(
        || format!("in {received:.0}, out {sent:.0} bit/s"),
        |(size, unit)| format!("in {:.1}, out {:.1} {unit}", received / size, sent / size),
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc, time::Duration, time::Instant};

    use probe_common::{bucket::of_nanoseconds, interface::Transport, protocol::Protocol};

    use super::*;
    use crate::{
        identity::Identity,
        report::{Rates, RequestRates, ServiceRates},
        snapshot::{Service, Snapshot},
    };

    fn report() -> Report {
        let id = ServiceId {
            identity: Identity::named("nginx"),
            port: 80,
            role: Role::Server,
            transport: Transport::Tcp,
        };
        let service = Service { users: 17, ..Service::default() };
        let snapshot = Snapshot {
            taken: Instant::now(),
            collection: Duration::ZERO,
            services: [(id.clone(), service)].into(),
            interfaces: BTreeMap::new(),
            node: Some([0, 0]),
            unmeasured: Vec::new(),
            tables: Vec::new(),
            features: Vec::new(),
        };
        let mut requests = RequestRates { requests: 1_234.4, ..RequestRates::default() };
        requests.durations.add(of_nanoseconds(12_000_000), 100, 100 * 12_000_000);
        let service = ServiceRates {
            received: 156_250.0,
            sent: 250e6,
            opened: 0.0,
            requests: [(Protocol::Http1, requests)].into(),
        };
        let rates = Rates { services: [(id, service)].into(), ..Rates::default() };
        Report {
            snapshot: Arc::new(snapshot),
            rates: Some(rates),
            tiers: BTreeMap::new(),
            resources: Arc::default(),
        }
    }

    #[test]
    fn it_says_what_the_node_does() {
        assert_eq!(
            summary(&report()),
            "1 service · 1,234 req/s · in 0.0, out 2.0 Gbit/s · 17 users · P99 11.5 ms"
        );
    }

    #[test]
    fn without_rates_it_says_what_it_knows() {
        assert_eq!(summary(&Report { rates: None, ..report() }), "1 service");
    }

    #[test]
    fn a_quiet_node_is_no_less_than_nothing() {
        let rates = Rates::default();
        let snapshot = Snapshot { services: BTreeMap::new(), ..(*report().snapshot).clone() };
        assert_eq!(
            summary(&Report {
                snapshot: Arc::new(snapshot),
                rates: Some(rates),
                tiers: BTreeMap::new(),
                resources: Arc::default()
            }),
            "0 services · 0 req/s · in 0, out 0 bit/s · 0 users"
        );
    }

    #[test]
    fn bandwidth_reads_well() {
        assert_eq!(bandwidth(512.0, 0.0), "in 512, out 0 bit/s");
        assert_eq!(bandwidth(1e3, 12.34e6), "in 0.0, out 12.3 Mbit/s");
    }
}
