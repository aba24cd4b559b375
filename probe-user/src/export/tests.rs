//! What a report looks like at `/metrics`.

mod agreement;
mod arrows;
mod documentation;
mod golden;
pub(crate) mod hostile_names;
pub(crate) mod messages;
pub(crate) mod sample;

use std::sync::Arc;

use super::{Exposition, Format, names};
use crate::{latest::Latest, place::Place};

/// What is served when a report is the latest.
fn rendered(report: crate::report::Report) -> String {
    whole(&exposition(report))
}

/// All pieces of a page.
fn whole(exposition: &Exposition) -> String {
    String::from_utf8(bytes(exposition, Format::Text)).unwrap()
}

/// All pieces in a format.
fn bytes(exposition: &Exposition, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut send = |piece: Vec<u8>| {
        bytes.extend_from_slice(&piece);
        Ok(())
    };
    exposition.write(format, &mut send).unwrap();
    bytes
}

/// An exposition of a report.
fn exposition(report: crate::report::Report) -> Exposition {
    let latest = Arc::new(Latest::default());
    latest.publish(Arc::new(report));
    Exposition::new(latest).unwrap()
}

/// The value of the series written just so.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[track_caller]
fn assert_value(text: &str, series: &str, expected: f64) {
    let found = value(text, series);
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{series} is {found:?}\n{text}");
}

#[test]
fn requests_are_counted_by_what_they_were() {
    let text = rendered(sample::report("nginx"));
    let identity = r#"service="nginx",port="80",role="server",protocol="http1""#;
    let series = |rest: &str| format!("{{{identity},{rest}}}");
    let total = |rest: &str| format!("traffic_requests_total{}", series(rest));
    assert_value(&text, &total(r#"method="GET",status="200""#), 90.0);
    assert_value(&text, &total(r#"method="GET",status="503""#), 8.0);
    assert_value(&text, &total(r#"method="POST",status="aborted""#), 2.0);
    assert_value(&text, &format!("traffic_requests_per_second{{{identity}}}"), 10.0);
    assert_value(&text, &format!("traffic_transactions_per_second{{{identity}}}"), 9.0);
    assert_value(&text, &format!("traffic_error_ratio{{{identity}}}"), 0.1);
}

#[test]
fn routes_are_a_label_of_requests_only_where_they_are_counted() {
    let text = rendered(sample::report("nginx"));
    assert!(!text.contains("route="), "{text}");
    let text = rendered(sample::report_by_route(r#"/a"b\c/*"#));
    let labels = r#"service="nginx",port="80",role="server",protocol="http1",method="GET",status="200""#;
    let route = r#"route="/a\"b\\c/*""#;
    assert_value(&text, &format!("traffic_requests_total{{{labels},{route}}}"), 90.0);
    assert_value(&text, &format!("traffic_request_duration_seconds_count{{{labels},{route}}}"), 90.0);
    let labelled = text.lines().filter(|line| line.contains("route="));
    for line in labelled {
        let name = line.split('{').next().unwrap();
        assert!(
            name == "traffic_requests_total" || name.starts_with("traffic_request_duration_seconds_"),
            "{line}"
        );
    }
}

#[test]
fn in_a_cluster_all_that_is_a_services_says_where_it_runs() {
    let place = Place {
        namespace: "shop".into(),
        workload: "web".into(),
        pod: "web-6d9f-x7k2p".into(),
        container: "nginx".into(),
        node: "node1".into(),
    };
    let labels = r#"namespace="shop",workload="web",pod="web-6d9f-x7k2p",container="nginx",node="node1""#;
    let text = rendered(sample::report_in_cluster(&place));
    let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let (of_services, others): (Vec<_>, Vec<_>) =
        series.into_iter().partition(|line| line.contains(r#"{service=""#));
    assert!(of_services.iter().all(|line| line.contains(labels)), "{text}");
    assert!(!others.is_empty() && !others.iter().any(|line| line.contains("node1")), "{text}");
    let on_a_host = rendered(sample::report_in_cluster(&Place { node: "node1".into(), ..Place::default() }));
    assert!(
        on_a_host.contains(r#"role="server",node="node1"} "#) && !on_a_host.contains(",pod="),
        "{on_a_host}"
    );
}

#[test]
fn histograms_are_exact_at_powers_of_two() {
    let text = rendered(sample::report("nginx"));
    let labels = r#"service="nginx",port="80",role="server",protocol="http1",method="GET",status="200""#;
    let name = "traffic_request_duration_seconds";
    assert_value(&text, &format!(r#"{name}_bucket{{{labels},le="0.0009765625"}}"#), 0.0);
    assert_value(&text, &format!(r#"{name}_bucket{{{labels},le="0.001953125"}}"#), 90.0);
    assert_value(&text, &format!(r#"{name}_bucket{{{labels},le="32"}}"#), 90.0);
    assert_value(&text, &format!(r#"{name}_bucket{{{labels},le="+Inf"}}"#), 90.0);
    assert_value(&text, &format!("{name}_sum{{{labels}}}"), 0.09);
    assert_value(&text, &format!("{name}_count{{{labels}}}"), 90.0);
    let edges = text.lines().filter(|line| line.starts_with(&format!("{name}_bucket{{{labels}"))).count();
    assert_eq!(edges, 24, "2^-17 to 2^5 and infinity");
}

#[test]
fn the_windows_latency_has_an_average_and_quantiles() {
    let text = rendered(sample::report("nginx"));
    let latency = |quantile: &str| {
        let labels = r#"service="nginx",port="80",role="server",protocol="http1""#;
        value(&text, &format!(r#"traffic_request_latency_seconds{{{labels},quantile="{quantile}"}}"#))
            .unwrap()
    };
    assert!((latency("avg") - 0.001).abs() < 1e-9);
    for quantile in ["0.5", "0.95", "0.99"] {
        assert!((latency(quantile) / 0.001 - 1.0).abs() < 0.09, "{quantile}: {}", latency(quantile));
    }
    assert!(text.contains("# TYPE traffic_request_latency_seconds untyped\n"), "{text}");
}

#[test]
fn without_requests_in_the_window_there_is_no_latency_and_no_ratio() {
    let text = rendered(sample::idle_report());
    assert!(!text.contains("traffic_request_latency_seconds"), "{text}");
    assert!(!text.contains("traffic_error_ratio"), "{text}");
    let labels = r#"service="nginx",port="80",role="server",protocol="http1""#;
    assert_value(&text, &format!("traffic_requests_per_second{{{labels}}}"), 0.0);
}

#[test]
fn only_traffic_that_was_seen_has_series() {
    let text = rendered(sample::report("nginx"));
    let count = |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
    assert_eq!(count("traffic_interface_bytes_total"), 1);
    let labels = r#"interface="eth0",direction="transmit",family="ipv4",transport="tcp""#;
    assert_value(&text, &format!("traffic_interface_packets_total{{{labels}}}"), 100.0);
    assert_value(&text, &format!("traffic_interface_bandwidth_bytes_per_second{{{labels}}}"), 10_000.0);
}

#[test]
fn users_are_those_of_servers() {
    let text = rendered(sample::report("nginx"));
    assert_value(&text, r#"traffic_concurrent_users{service="nginx",port="80"}"#, 3.0);
    assert!(!text.contains(r#"traffic_concurrent_users{service="curl""#), "{text}");
}

#[test]
fn a_port_has_a_service_over_udp_beside_that_over_tcp() {
    let text = rendered(sample::report("nginx"));
    let identity = r#"service="nginx",port="80",role="server",direction="receive""#;
    for (name, tcp, udp) in [
        ("traffic_bytes_total", 10_000.0, 3000.0),
        ("traffic_wire_bytes_total", 15_000.0, 3840.0),
        ("traffic_packets_total", 100.0, 30.0),
        ("traffic_bandwidth_bytes_per_second", 1000.0, 300.0),
    ] {
        assert_value(&text, &format!("{name}{{{identity}}}"), tcp);
        assert_value(&text, &format!(r#"{name}{{{identity},transport="udp"}}"#), udp);
    }
    assert_value(&text, r#"traffic_concurrent_users{service="nginx",port="80",transport="udp"}"#, 2.0);
    let connections = text.lines().filter(|line| line.starts_with("traffic_connections_open{"));
    assert_eq!(connections.count(), 2, "UDP has no connections: {text}");
}

#[test]
fn a_name_with_quotes_and_newlines_breaks_nothing() {
    let text = rendered(sample::report("a\"b\\c\nd"));
    let service = r#"service="a\"b\\c\nd",port="80",role="server""#;
    assert_value(&text, &format!("traffic_connections_open{{{service}}}"), 4.0);
    let series = text.lines().filter(|line| !line.starts_with('#'));
    for line in series {
        assert!(line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok()), "{line}");
    }
}

#[test]
fn before_the_first_report_only_the_build_is_known() {
    let text = whole(&Exposition::new(Arc::default()).unwrap());
    let version = env!("CARGO_PKG_VERSION");
    assert_value(&text, &format!(r#"traffic_probe_build_info{{version="{version}"}}"#), 1.0);
    assert!(!text.contains("traffic_requests"), "{text}");
}

#[test]
fn no_series_comes_twice() {
    let text = rendered(sample::report("nginx"));
    let mut series: Vec<_> =
        text.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all);
    assert!(names::ALL.iter().all(|metric| text.contains(metric.name)));
}

#[test]
fn a_large_page_leaves_in_pieces_of_whole_lines() {
    let exposition = exposition(sample::report_by_routes(500));
    for format in [Format::Text, Format::OpenMetrics] {
        let pieces = pieces(&exposition, format);
        assert!(pieces.len() > 10, "{}", pieces.len());
        for piece in &pieces {
            assert!(piece.ends_with(b"\n") && piece.len() <= 72 * 1024, "{}", piece.len());
        }
        let last = String::from_utf8_lossy(pieces.last().unwrap());
        assert!(last.contains("process_resident_memory_bytes"), "{last}");
    }
}

#[test]
fn a_large_page_of_messages_leaves_in_pieces() {
    let pieces = pieces(&exposition(sample::report_by_routes(500)), Format::Protobuf);
    assert!(pieces.len() > 10, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.len() <= 72 * 1024));
}

fn pieces(exposition: &Exposition, format: Format) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut send = |piece| {
        pieces.push(piece);
        Ok(())
    };
    exposition.write(format, &mut send).unwrap();
    pieces
}

#[test]
fn nothing_is_sent_to_a_client_that_has_gone() {
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let mut pieces = 0;
        let mut send = |_| {
            pieces += 1;
            if pieces == 2 { Err(super::Gone) } else { Ok(()) }
        };
        let written = exposition(sample::report_by_routes(500)).write(format, &mut send);
        assert_eq!((written, pieces), (Err(super::Gone), 2), "{format:?}");
    }
}
