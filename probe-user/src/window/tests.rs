use std::collections::BTreeMap;

use probe_common::{
    bucket::of_nanoseconds,
    counters::Volume,
    exchange::{ABORTED, Ending, code_of},
    interface::Transport,
    protocol::{Method, Protocol},
    service::Role,
};

use super::*;
use crate::{
    identity::Identity,
    snapshot::{RequestKind, ServiceId},
};

/// A second, and a service, of hand-made snapshots.
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: u64 = 1_000_000;

fn id(name: &str) -> ServiceId {
    let identity = Identity::named(name);
    ServiceId { identity, port: 80, role: Role::Server, transport: Transport::Tcp }
}

fn snapshot(taken: Instant, services: impl IntoIterator<Item = (ServiceId, Service)>) -> Snapshot {
    Snapshot {
        taken,
        collection: Duration::ZERO,
        services: services.into_iter().collect(),
        interfaces: BTreeMap::new(),
        node: Some([0, 0]),
        unmeasured: Vec::new(),
        tables: Vec::new(),
        features: Vec::new(),
    }
}

/// A service that answered requests: (status, how many), a millisecond each, of a thousand bytes each.
fn service(answers: &[(u16, u64)]) -> Service {
    let mut service = Service::default();
    for &(status, count) in answers {
        let kind = RequestKind {
            protocol: Protocol::Http1,
            method: Method::Get,
            status: code_of(status),
            route: None,
            ending: Ending::of(status),
        };
        service.requests.entry(kind).or_default().add(
            of_nanoseconds(MILLISECOND),
            count,
            count * MILLISECOND,
        );
        service.sent.bytes += count * 1000;
        service.sent.packets += count;
    }
    service
}

fn http(report: &Report, name: &str) -> RequestRates {
    report.rates.as_ref().unwrap().services[&id(name)].requests[&Protocol::Http1].clone()
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-9 * right.abs().max(1.0)
}

#[test]
fn one_snapshot_has_no_rates() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let report = window.push(snapshot(Instant::now(), [(id("web"), service(&[(200, 1_000_000)]))]));
    assert!(report.rates.is_none(), "what was counted before is no rate");
    assert_eq!(report.snapshot.services.len(), 1);
}

#[test]
fn the_second_divides_by_the_time_that_really_passed() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    window.push(snapshot(start, [(id("web"), service(&[(200, 500)]))]));
    let report = window.push(snapshot(start + SECOND * 2, [(id("web"), service(&[(200, 1_500)]))]));
    let requests = http(&report, "web");
    assert!(close(requests.requests, 500.0));
    assert!(close(requests.durations.average().unwrap(), 0.001));
    let rates = &report.rates.unwrap().services[&id("web")];
    assert!(close(rates.sent, 1_000.0 * 1000.0 / 2.0));
    assert!(close(rates.received, 0.0));
}

#[test]
fn old_traffic_leaves_the_window() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    window.push(snapshot(start, []));
    let mut report = None;
    for tick in 1..=15 {
        // A thousand requests in the third second, and none after it.
        let count = if tick >= 3 { 1_000 } else { 0 };
        report = Some(window.push(snapshot(start + SECOND * tick, [(id("web"), service(&[(200, count)]))])));
        let requests = http(report.as_ref().unwrap(), "web").requests;
        match tick {
            3 => assert!(close(requests, 1_000.0 / 3.0), "{requests}"),
            10..=12 => assert!(close(requests, 100.0), "{requests} at {tick}"),
            13.. => assert!(close(requests, 0.0), "{requests} at {tick}"),
            _ => {}
        }
    }
    let report = report.unwrap();
    assert_eq!(report.rates.as_ref().unwrap().span, 10 * SECOND);
    let requests = http(&report, "web");
    assert_eq!(requests.error_ratio, None, "of nothing, no part failed or succeeded");
    assert_eq!(requests.durations.quantile(0.99), None);
    assert!(window.sum.services.is_empty(), "what left the window takes no memory");
}

#[test]
fn late_ticks_stretch_the_window_rather_than_empty_it() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    window.push(snapshot(start, []));
    let report = window.push(snapshot(start + 60 * SECOND, [(id("web"), service(&[(200, 600)]))]));
    assert!(close(http(&report, "web").requests, 10.0));
}

#[test]
fn a_service_that_appears_counts_from_zero() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    window.push(snapshot(start, []));
    window.push(snapshot(start + SECOND, []));
    let report = window.push(snapshot(start + 2 * SECOND, [(id("new"), service(&[(200, 100)]))]));
    assert!(close(http(&report, "new").requests, 50.0));
}

#[test]
fn a_reset_loses_nothing() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    for (tick, total) in [(0, 1_000), (1, 1_100), (2, 30)] {
        window.push(snapshot(start + SECOND * tick, [(id("web"), service(&[(200, total)]))]));
    }
    let report = window.push(snapshot(start + SECOND * 3, [(id("web"), service(&[(200, 2_030)]))]));
    assert!(close(http(&report, "web").requests, (100.0 + 30.0 + 2_000.0) / 3.0));
}

#[test]
fn failed_requests_are_no_transactions() {
    for (errors, failed) in [(ErrorClass::Server, 20.0), (ErrorClass::ServerAndClient, 60.0)] {
        let mut window = Window::new(10 * SECOND, errors);
        let start = Instant::now();
        window.push(snapshot(start, []));
        let answers = [(200, 140), (404, 40), (500, 15), (ABORTED, 5)];
        let report = window.push(snapshot(start + SECOND, [(id("web"), service(&answers))]));
        let requests = http(&report, "web");
        assert!(close(requests.requests, 200.0));
        assert!(close(requests.transactions, 200.0 - failed));
        assert!(close(requests.error_ratio.unwrap(), failed / 200.0));
    }
}

#[test]
fn interfaces_have_rates_by_kind() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    let at = |seconds: u32, bytes| {
        let mut snapshot = snapshot(start + SECOND * seconds, []);
        let mut volumes = crate::snapshot::InterfaceVolumes::default();
        volumes[1][0][0] = Volume { bytes, packets: 1 };
        snapshot.interfaces.insert("eth0".into(), volumes);
        snapshot
    };
    window.push(at(0, 500));
    let report = window.push(at(4, 1_500));
    let rates = &report.rates.unwrap().interfaces["eth0"];
    assert!(close(rates[1][0][0], 250.0));
    assert!(close(rates[0].as_flattened().iter().sum(), 0.0));
}

#[test]
fn many_short_ticks_keep_few_steps() {
    let mut window = Window::new(60 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    let mut report = None;
    for tick in 0..2_000 {
        let at = start + Duration::from_millis(100) * tick;
        report = Some(window.push(snapshot(at, [(id("web"), service(&[(200, u64::from(tick) * 10)]))])));
    }
    assert!(window.steps.len() <= STEPS as usize + 1, "{} steps", window.steps.len());
    let report = report.unwrap();
    assert!(close(http(&report, "web").requests, 100.0));
    let span = report.rates.unwrap().span;
    assert!(span >= 60 * SECOND && span <= 61 * SECOND, "{span:?}");
}

#[test]
fn roles_are_merged_apart() {
    let mut window = Window::new(10 * SECOND, ErrorClass::Server);
    let start = Instant::now();
    window.push(snapshot(start, []));
    let caller = ServiceId { role: Role::Client, ..id("curl") };
    let services =
        [(id("a"), service(&[(200, 30)])), (id("b"), service(&[(500, 10)])), (caller, service(&[(200, 7)]))];
    let rates = window.push(snapshot(start + SECOND, services)).rates.unwrap();
    let served = rates.requests(Role::Server);
    assert!(close(served.requests, 40.0));
    assert!(close(served.error_ratio.unwrap(), 0.25));
    assert_eq!(served.durations.count, 40);
    assert!(close(rates.requests(Role::Client).requests, 7.0));
}
