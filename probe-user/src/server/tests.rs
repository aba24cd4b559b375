//! Over a real socket, as a scraper sees it.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::{export::Exposition, latest::Latest, report::Report, snapshot::Snapshot};

/// Runs a server while `scrape` runs against it.
pub(crate) fn with_server(latest: Arc<Latest>, scrape: impl FnOnce(SocketAddr)) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let exposition = Exposition::new(Arc::clone(&latest)).unwrap();
    let scrapers = Arc::default();
    let routes = router(Service { latest, exposition, scrapers, interval: Duration::from_secs(1) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(serve(listener, routes, Limits::default(), Web::read(None).unwrap(), Arc::default()));
    scrape(address);
    runtime.shutdown_background();
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

pub(crate) fn report(taken: Instant) -> Arc<Report> {
    let snapshot = Snapshot {
        taken,
        collection: Duration::from_millis(1),
        services: BTreeMap::new(),
        interfaces: BTreeMap::new(),
        node: Some([0, 0]),
        unmeasured: Vec::new(),
        tables: Vec::new(),
        features: Vec::new(),
    };
    Arc::new(Report {
        snapshot: Arc::new(snapshot),
        rates: None,
        endings: [].into(),
        tiers: BTreeMap::new(),
        resources: Arc::default(),
    })
}

#[test]
fn metrics_come_as_prometheus_wants_them() {
    let latest = Arc::new(Latest::default());
    latest.publish(report(Instant::now()));
    with_server(latest, |address| {
        let response = get(address, "/metrics");
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert!(
            response.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
            "{response}"
        );
        assert!(response.contains("\ntraffic_probe_collection_seconds 0.001\n"), "{response}");
        assert!(response.contains("\nprocess_resident_memory_bytes "), "{response}");
    });
}

#[test]
fn it_is_ready_with_the_first_report() {
    let latest = Arc::new(Latest::default());
    with_server(Arc::clone(&latest), |address| {
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 503"));
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
        latest.publish(report(Instant::now()));
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn it_is_ill_when_reports_stop() {
    let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(6)) else {
        return;
    };
    let latest = Arc::new(Latest::default());
    latest.publish(report(long_ago));
    with_server(latest, |address| {
        let response = get(address, "/healthz");
        assert!(response.starts_with("HTTP/1.1 503"), "{response}");
        assert!(response.contains("6.0 s ago"), "{response}");
    });
}

#[test]
fn the_index_leads_on_and_the_rest_is_not_found() {
    with_server(Arc::default(), |address| {
        let index = get(address, "/");
        assert!(
            index.contains("<a href=\"/metrics\">") && index.contains(env!("CARGO_PKG_VERSION")),
            "{index}"
        );
        assert!(get(address, "/nothing").starts_with("HTTP/1.1 404"));
    });
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind(address).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot listen on {address}: address already in use; another")),
        "{error}"
    );
    assert!(error.contains("--listen") && !error.contains('\n'), "{error}");
}
