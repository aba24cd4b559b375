use probe_common::counters::Progress;

use super::*;

#[test]
fn requests_are_in_flight_until_they_end() {
    let mut service = Service::default();
    let progress = |began, ended| ServiceCounters {
        progress: [Progress { began, ended }],
        ..ServiceCounters::default()
    };
    assert_eq!(add_counters(&mut service, &progress(0, 0)), 0);
    assert!(service.in_flight.is_empty(), "a service without requests has no series of them");
    assert_eq!(add_counters(&mut service, &progress(5, 3)), 2);
    assert_eq!(add_counters(&mut service, &progress(5, 6)), 0, "CPUs are read one after the other");
    assert_eq!(service.in_flight[&Protocol::Http1].requests, 2);
}
