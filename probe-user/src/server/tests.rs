//! Over a real socket, as a scraper sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    export::{Exposition, tests::sample},
    latest::Latest,
    report::Report,
    snapshot::Snapshot,
};

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

/// What a client that speaks HTTP/1.0 gets, so that no chunks are in between: the head, and the content.
fn ask(address: SocketAddr, method: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{method} /metrics HTTP/1.0\r\nHost: probe\r\n{headers}\r\n").unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let content = response.split_off(end + 4);
    (String::from_utf8(response).unwrap(), content)
}

/// The lines of a page, but for what the agent's process took, which is more each time.
fn lines(page: &[u8]) -> Vec<String> {
    let lines = std::str::from_utf8(page).unwrap().lines();
    lines.filter(|line| !line.starts_with("process_")).map(str::to_owned).collect()
}

#[test]
fn a_page_is_the_same_however_it_is_coded() {
    let latest = Arc::new(Latest::default());
    latest.publish(Arc::new(sample::report_by_routes(300)));
    with_server(latest, |address| {
        let (head, plain) = ask(address, "GET", "");
        assert!(!head.contains("content-encoding"), "{head}");
        assert!(head.contains("vary: accept, accept-encoding\r\n"), "{head}");
        assert!(plain.len() > 1 << 20, "{}", plain.len());
        let (head, gzip) = ask(address, "GET", "Accept-Encoding: gzip\r\n");
        assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
        let mut decoded = Vec::new();
        flate2::read::GzDecoder::new(&*gzip).read_to_end(&mut decoded).unwrap();
        assert!(lines(&decoded) == lines(&plain));
        let (head, zstd) = ask(address, "GET", "Accept-Encoding: gzip, zstd\r\n");
        assert!(head.contains("content-encoding: zstd\r\n"), "{head}");
        assert!(lines(&zstd::stream::decode_all(&*zstd).unwrap()) == lines(&plain));
        for coded in [gzip.len(), zstd.len()] {
            assert!(coded * 10 < plain.len(), "{coded} of {}", plain.len());
        }
    });
}

#[test]
fn a_format_is_asked_for_and_a_head_is_that_of_the_page() {
    const PROTOBUF: &str =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let latest = Arc::new(Latest::default());
    latest.publish(report(Instant::now()));
    with_server(latest, |address| {
        for (accept, content_type) in [
            ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
            ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
            (
                PROTOBUF,
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
            ),
        ] {
            let headers = format!("Accept: {accept}\r\nAccept-Encoding: gzip\r\n");
            let [(head, none), (of_get, page)] = ["HEAD", "GET"].map(|method| ask(address, method, &headers));
            assert!(head.contains(&format!("\r\ncontent-type: {content_type}\r\n")), "{head}");
            assert!(none.is_empty() && !page.is_empty(), "{accept}: {} and {}", none.len(), page.len());
            let fields = |head: &str| {
                let lines = head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned);
                lines.collect::<BTreeSet<_>>()
            };
            assert_eq!(fields(&head), fields(&of_get), "{accept}");
        }
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
