//! A replay for people and for programs.

mod extras;

use std::fmt::Write;

use self::extras::{columns, intervals, peers, slowest, waiting};
use super::report::{Capture, GoesBack, Kind, Latency, Order, Report, RouteKind, Service};
use crate::figures::{duration, grouped};

/// Over the columns of the table, each to the right but for the first two.
const HEADINGS: [&str; 13] = [
    "SERVICE",
    "PROTOCOL",
    "REQUESTS",
    "4XX",
    "5XX",
    "ABORTED",
    "IN FLIGHT",
    "P50",
    "P95",
    "P99",
    "RECEIVED",
    "SENT",
    "CONNECTIONS",
];

/// A table of the services, what escaped, and what the capture is.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    if report.services.is_empty() {
        text.push_str("no TCP connection in this capture\n");
    } else {
        table(&mut text, &report.services);
    }
    for service in &report.services {
        statuses(&mut text, service);
    }
    for service in &report.services {
        routes(&mut text, service);
    }
    for service in &report.services {
        peers(&mut text, service);
    }
    for service in &report.services {
        waiting(&mut text, service);
        remarks(&mut text, service);
    }
    slowest(&mut text, &report.slowest);
    intervals(&mut text, &report.intervals);
    if report.beyond_intervals > 0 {
        let beyond = grouped(report.beyond_intervals);
        _ = writeln!(text, "{beyond} requests lie in later intervals: choose longer ones");
    }
    capture(&mut text, &report.capture);
    text
}

/// One document.
pub(super) fn json(report: &Report) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

fn table(text: &mut String, services: &[Service]) {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(services.iter().map(row));
    columns(text, &rows, 2);
}

fn row(service: &Service) -> [String; HEADINGS.len()] {
    let Latency { p50_seconds, p95_seconds, p99_seconds, .. } = service.duration;
    let time = |quantile: Option<f64>| quantile.map_or_else(|| "-".to_owned(), duration);
    [
        service.service.clone(),
        service.protocol.to_owned(),
        grouped(service.requests),
        grouped(service.client_errors),
        grouped(service.server_errors),
        grouped(service.aborted),
        grouped(service.in_flight),
        time(p50_seconds),
        time(p95_seconds),
        time(p99_seconds),
        grouped(service.bytes.received),
        grouped(service.bytes.sent),
        grouped(service.connections.opened + service.connections.joined),
    ]
}

/// `10.0.0.1:80  GET 200: 3 (P50 1.0 ms, P99 2.0 ms), POST 500: 1 (P50 ...)`
fn statuses(text: &mut String, service: &Service) {
    let kinds: Vec<_> = service.by_status.iter().map(kind).collect();
    if !kinds.is_empty() {
        _ = writeln!(text, "\n{}  {}", service.service, kinds.join(", "));
    }
}

/// `10.0.0.1:80  /users/*  GET 200: 3 (P50 1.0 ms, P99 2.0 ms)`
fn routes(text: &mut String, service: &Service) {
    for RouteKind { route, kind: found } in &service.by_route {
        _ = writeln!(text, "{}  {route}  {}", service.service, kind(found));
    }
}

fn kind(kind: &Kind) -> String {
    let known = match (kind.duration.p50_seconds, kind.duration.p99_seconds) {
        (Some(p50), Some(p99)) => format!(" (P50 {}, P99 {})", duration(p50), duration(p99)),
        _ => String::new(),
    };
    format!("{} {}: {}{known}", kind.method, kind.status, grouped(kind.count))
}

/// What one has to know to trust the figures.
fn remarks(text: &mut String, service: &Service) {
    let connections = &service.connections;
    let facts = [
        (connections.joined, "older than the capture"),
        (connections.failed, "failed"),
        (connections.reset, "ended by a reset"),
        (connections.reused, "ended unseen"),
        (connections.half_open, "never established"),
        (connections.open, "open at the end"),
        (connections.evicted, "given up for lack of room"),
    ];
    let known: Vec<_> = facts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(*count)))
        .collect();
    if !known.is_empty() {
        _ = writeln!(text, "{}  connections: {}", service.service, known.join(", "));
    }
    if service.unknown() > 0 {
        let unknown = grouped(service.unknown());
        _ = writeln!(text, "{}  durations not known, since time goes back: {unknown}", service.service);
    }
    if !service.unmeasured.is_empty() {
        _ = writeln!(text, "{}  unmeasured: {}", service.service, list(service.unmeasured.iter()));
    }
}

fn capture(text: &mut String, capture: &Capture) {
    _ = write!(text, "\n{}: {} packets", capture.file, grouped(capture.packets));
    if let Some(first) = &capture.first {
        _ = write!(text, " in {} from {first}", duration(capture.seconds));
    }
    if capture.stopped {
        text.push_str("; stopped by a signal");
    }
    if let Some(GoesBack { times, seconds }) = capture.time_goes_back {
        let by = duration(seconds);
        let times = if times == 1 { "once".to_owned() } else { format!("{} times", grouped(times)) };
        let order = match capture.order {
            Order::File => "counted in the order of the file",
            Order::Time => "counted in the order of time",
        };
        _ = write!(text, "; time goes back {times}, by up to {by}: {order}");
    }
    if capture.cut_packets > 0 {
        _ = write!(text, "; {} of them not captured whole", grouped(capture.cut_packets));
    }
    if !capture.skipped.is_empty() {
        _ = write!(text, "; skipped: {}", list(capture.skipped.iter()));
    }
    text.push('\n');
}

fn list<'a>(counts: impl Iterator<Item = (&'a &'static str, &'a u64)>) -> String {
    counts.map(|(reason, count)| format!("{} {reason}", grouped(*count))).collect::<Vec<_>>().join(", ")
}
