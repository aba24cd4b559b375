use probe_common::{counters::Progress, phase::Phase};

use super::*;

fn key(span: Span) -> LatencyKey {
    LatencyKey {
        status: 200,
        bucket: 80,
        protocol: Protocol::Http1 as u8,
        method: Method::Get as u8,
        span: span as u8,
        ..LatencyKey::default()
    }
}

#[test]
fn one_entry_serves_both_histograms_where_the_answer_came_at_once() {
    let mut service = Service::default();
    add_latency(&mut service, &key(Span::Both), None, 3, 30);
    add_latency(&mut service, &key(Span::Duration), None, 2, 20);
    add_latency(&mut service, &key(Span::FirstByte), None, 2, 10);
    let kind = RequestKind { protocol: Protocol::Http1, method: Method::Get, status: 200, route: None };
    assert_eq!((service.requests[&kind].count, service.requests[&kind].sum), (5, 50));
    let first_byte = &service.first_byte[&Protocol::Http1];
    assert_eq!((first_byte.count, first_byte.sum), (5, 40));
}

#[test]
fn phases_and_round_trips_are_kept_apart_from_requests() {
    let mut service = Service::default();
    add_latency(&mut service, &key(Span::Queue), None, 3, 30);
    add_latency(&mut service, &LatencyKey { protocol: 0, ..key(Span::RoundTrip) }, None, 4, 40);
    assert_eq!(service.phases[&(Protocol::Http1, Phase::Queue)].count, 3);
    assert_eq!(service.round_trips.count, 4);
    assert!(service.requests.is_empty() && service.first_byte.is_empty());
}

#[test]
fn requests_are_in_flight_until_they_end() {
    let mut service = Service::default();
    let progress = |began, ended| ServiceCounters {
        progress: [Progress { began, ended }],
        ..ServiceCounters::default()
    };
    assert!(!add_counters(&mut service, &progress(0, 0)));
    assert!(service.in_flight.is_empty(), "a service without requests has no series of them");
    assert!(add_counters(&mut service, &progress(5, 3)));
    assert!(!add_counters(&mut service, &progress(5, 6)), "CPUs are read one after the other");
    assert_eq!(service.in_flight[&Protocol::Http1].requests, 2);
}

#[test]
fn a_key_of_another_version_is_passed_over() {
    let mut service = Service::default();
    add_latency(&mut service, &LatencyKey { protocol: 200, ..key(Span::Both) }, None, 1, 1);
    assert_eq!(service, Service::default());
}
