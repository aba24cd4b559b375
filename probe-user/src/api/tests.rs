//! Over a real socket, as a client sees it; the figures are compared with `/metrics` end to end.

mod openapi;
mod postman;
mod stream;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::{Interfaces, Kubernetes, Problem, Services, Tiers, documents::Documents};
use crate::{
    export::tests::{hostile_names::name, sample},
    identity::Identity,
    latest::Latest,
    place::Place,
    report::Report,
    server::tests::{get, report, with_server},
    snapshot::{ServiceId, Snapshot},
};

fn serving(report: Report, ask: impl FnOnce(SocketAddr)) {
    let latest = Arc::new(Latest::default());
    latest.publish(report.into());
    with_server(latest, ask);
}

/// The status and the document of an answer.
fn answer<T: serde::de::DeserializeOwned>(address: SocketAddr, path: &str) -> (u16, T) {
    let response = get(address, path);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/json"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}")))
}

fn found<T: serde::de::DeserializeOwned>(address: SocketAddr, path: &str) -> T {
    let (status, document) = answer(address, path);
    assert_eq!(status, 200, "{path}");
    document
}

fn refused(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, Problem { error }) = answer(address, path);
    (status, error)
}

#[test]
fn services_are_chosen_by_role_port_and_name() {
    serving(sample::report("nginx"), |address| {
        let names = |path: &str| -> Vec<String> {
            let Services { services, .. } = found(address, path);
            services.iter().map(|service| format!("{} {:?}", service.service, service.transport)).collect()
        };
        assert_eq!(names("/api/v1/services"), ["curl Tcp", "nginx Tcp", "nginx Udp"]);
        assert_eq!(names("/api/v1/services?role=client"), ["curl Tcp"]);
        assert_eq!(names("/api/v1/services?port=80&role=server"), ["nginx Tcp", "nginx Udp"]);
        assert_eq!(names("/api/v1/services?port=81"), [""; 0]);
        assert_eq!(names("/api/v1/services/nginx"), ["nginx Tcp", "nginx Udp"]);
    });
}

#[test]
fn a_name_may_hold_anything() {
    serving(sample::report("a/b \"c\"\n?"), |address| {
        let Services { services, .. } = found(address, "/api/v1/services/a%2Fb%20%22c%22%0A%3F");
        assert_eq!(services[0].service, "a/b \"c\"\n?");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn documents_have_names_as_they_are(service in name(), pod in name()) {
        let mut report = sample::report(&service);
        let mut snapshot = Snapshot::clone(&report.snapshot);
        let place = Arc::new(Place { pod: pod.clone(), ..Place::default() });
        snapshot.services = std::mem::take(&mut snapshot.services)
            .into_iter()
            .map(|(mut id, service)| {
                id.identity.place = Some(Arc::clone(&place));
                (id, service)
            })
            .collect();
        report.snapshot = snapshot.into();
        serving(report, |address| {
            let Services { services, .. } = found(address, "/api/v1/services?port=80&role=server");
            assert!(services.iter().all(|one| one.service == service), "{service:?} is not among {services:?}");
            let pods: Vec<_> = services.iter().filter_map(|one| one.kubernetes.as_ref()?.pod.clone()).collect();
            assert!(!pods.is_empty() && pods.iter().all(|one| *one == pod), "{pod:?}: {pods:?}");
        });
    }
}

#[test]
fn errors_are_sentences_in_json() {
    serving(sample::report("nginx"), |address| {
        let (status, error) = refused(address, "/api/v1/services/ngin");
        assert_eq!(status, 404);
        assert_eq!(error, "no service `ngin` matches: /api/v1/services lists all");
        assert_eq!(refused(address, "/api/v1/services/nginx?port=81").0, 404);
        let (status, error) = refused(address, "/api/v1/services?rol=client");
        assert_eq!(status, 400);
        assert!(error.contains("did you mean `role`?"), "{error}");
        for query in ["role=both", "port=http", "port=65536"] {
            assert_eq!(refused(address, &format!("/api/v1/services?{query}")).0, 400, "{query}");
            assert_eq!(refused(address, &format!("/api/v1/tiers?{query}")).0, 400, "{query}");
        }
        assert_eq!(refused(address, "/api/v1/services/%ff").0, 400);
        assert_eq!(refused(address, "/api/v1/service").0, 404);
        assert_eq!(refused(address, "/api/v2/services").0, 404);
    });
}

#[test]
fn before_the_first_report_there_is_nothing() {
    with_server(Arc::default(), |address| {
        for path in ["services", "services/nginx", "interfaces", "node", "tiers"] {
            let (status, error) = refused(address, &format!("/api/v1/{path}"));
            assert_eq!((status, error.starts_with("nothing has been collected yet")), (503, true), "{path}");
        }
    });
}

#[test]
fn before_there_are_rates_they_are_null() {
    let report = Report { rates: None, tiers: [].into(), ..sample::report("nginx") };
    serving(report, |address| {
        let Services { tick, services } = found(address, "/api/v1/services/nginx?role=server");
        assert_eq!((tick.window_seconds, services[0].bandwidth_bytes_per_second), (None, None));
        let requests = &services[0].requests[0];
        assert_eq!((requests.requests_total, requests.requests_per_second), (100, None));
        let Interfaces { node, interfaces, .. } = found(address, "/api/v1/interfaces");
        let node = node.expect("interfaces are counted");
        assert_eq!((node.bytes_total.transmit, node.bandwidth_bytes_per_second), (100_000, None));
        assert_eq!(interfaces[0].traffic[0].bandwidth_bytes_per_second, None);
        let Tiers { tiers, .. } = found(address, "/api/v1/tiers");
        assert_eq!(tiers, []);
    });
}

#[test]
fn a_tier_says_what_it_calls_for() {
    serving(sample::report("nginx"), |address| {
        let Tiers { tiers, .. } = found(address, "/api/v1/tiers?port=80");
        assert_eq!(tiers.len(), 2, "over TCP and over UDP; the caller has none: {tiers:?}");
        assert!(tiers[0].tier.calls_for.starts_with("Nothing: one small instance"), "{tiers:?}");
        let raw: Value = found(address, "/api/v1/tiers");
        assert_eq!(raw["tiers"][0]["tier"]["class"], "low");
        assert_eq!(raw["tiers"][0]["tier"]["profile_source"], "inferred");
    });
}

#[test]
fn in_a_cluster_a_service_says_where_it_runs() {
    let place = Place {
        namespace: "shop".into(),
        workload: "web".into(),
        pod: "web-6d9f-x7k2p".into(),
        container: String::new(),
        node: "node1".into(),
    };
    let expected = Kubernetes {
        namespace: Some("shop".into()),
        workload: Some("web".into()),
        pod: Some("web-6d9f-x7k2p".into()),
        container: None,
        node: Some("node1".into()),
    };
    serving(sample::report_in_cluster(&place), |address| {
        let Services { services, .. } = found(address, "/api/v1/services");
        assert!(!services.is_empty());
        assert!(
            services.iter().all(|service| service.kubernetes.as_ref() == Some(&expected)),
            "{services:?}"
        );
        let Tiers { tiers, .. } = found(address, "/api/v1/tiers");
        assert!(tiers.iter().all(|tier| tier.kubernetes.as_ref() == Some(&expected)), "{tiers:?}");
        let stream = get(address, "/api/v1/stream?events=1");
        assert!(stream.contains(r#""pod":"web-6d9f-x7k2p","container":null,"node":"node1""#), "{stream}");
    });
    serving(sample::report("nginx"), |address| {
        let Services { services, .. } = found(address, "/api/v1/services");
        assert!(services.iter().all(|service| service.kubernetes.is_none()), "{services:?}");
    });
}

#[test]
fn a_report_is_serialised_once() {
    let latest = Arc::new(Latest::default());
    latest.publish(sample::report("nginx").into());
    let documents = Documents::new(Arc::clone(&latest));
    let interfaces = || documents.current().unwrap().interfaces().unwrap().as_ptr();
    let event = || documents.current().unwrap().event().unwrap().as_ptr();
    let (first_interfaces, first_event) = (interfaces(), event());
    assert_eq!((interfaces(), event()), (first_interfaces, first_event), "the same bytes again");
    let kept = documents.current().unwrap().event().unwrap();
    latest.publish(report(Instant::now()));
    assert_ne!(documents.current().unwrap().event().unwrap(), kept, "those of the next tick");
}

/// What docs/reference/api.md says of it, with `--release`.
#[test]
#[ignore = "a measurement"]
fn cost_of_many_services() {
    const SERVICES: usize = 4096;
    let mut report = sample::report("nginx");
    let sample = Arc::unwrap_or_clone(report.snapshot);
    let (id, service) = sample.services.iter().nth(1).unwrap();
    let many = (0..SERVICES).map(|number| {
        let identity = Identity::named(&format!("{}-{number}", id.name()));
        (ServiceId { identity, ..id.clone() }, service.clone())
    });
    report.snapshot = Snapshot { services: many.collect(), ..sample }.into();
    let latest = Arc::new(Latest::default());
    latest.publish(report.into());
    let documents = Documents::new(latest);
    for time in ["first", "second"] {
        let began = Instant::now();
        let length = documents.current().unwrap().services(|_| true).unwrap().unwrap().len();
        println!("{SERVICES} services, {length} bytes, the {time} time: {:?}", began.elapsed());
    }
}
