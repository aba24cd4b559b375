//! The parts that are shown on request, and what waits.

use std::fmt::Write;

use crate::{
    figures::{duration, grouped},
    replay::report::{Interval, Service, Slowest},
};

/// A table, with some columns to the left.
pub(super) fn columns<const COLUMNS: usize>(text: &mut String, rows: &[[String; COLUMNS]], left: usize) {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a string cannot fail.
            _ = if column < left {
                write!(text, "{cell:width$}  ")
            } else {
                write!(text, "{cell:>width$}  ")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

/// `10.0.0.1:80  client 10.0.0.2: 1 connection(s), 3 requests, 96 bytes received, 126 sent`
pub(super) fn peers(text: &mut String, service: &Service) {
    for peer in &service.by_peer {
        _ = writeln!(
            text,
            "{}  client {}: connections {}, requests {}, received {}, sent {}",
            service.service,
            peer.peer,
            grouped(peer.connections),
            grouped(peer.requests),
            grouped(peer.bytes.received),
            grouped(peer.bytes.sent),
        );
    }
}

/// `10.0.0.1:80  in flight: GET: 2, the oldest for 3.0 s; POST 200 so far: 1, the oldest for 1.0 s`
pub(super) fn waiting(text: &mut String, service: &Service) {
    let kinds: Vec<_> = service
        .waiting
        .iter()
        .map(|kind| {
            let route = kind.route.as_ref().map_or_else(String::new, |route| format!("{route} "));
            let status = kind.status.as_ref().map_or_else(String::new, |status| format!(" {status} so far"));
            let age = kind
                .oldest_seconds
                .map_or_else(String::new, |age| format!(", the oldest for {}", duration(age)));
            format!("{route}{}{status}: {}{age}", kind.method, grouped(kind.count))
        })
        .collect();
    if !kinds.is_empty() {
        _ = writeln!(text, "{}  in flight: {}", service.service, kinds.join("; "));
    }
}

pub(super) fn slowest(text: &mut String, slowest: &[Slowest]) {
    if slowest.is_empty() {
        return;
    }
    let headings = ["SLOWEST", "METHOD", "STATUS", "ROUTE", "CLIENT", "BEGAN", "DURATION", "FIRST BYTE"];
    let mut rows = vec![headings.map(str::to_owned)];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    rows.extend(slowest.iter().map(|slow| {
        [
            slow.service.clone(),
            slow.method.to_owned(),
            slow.status.clone(),
            or_dash(slow.route.clone()),
            slow.client.clone(),
            or_dash(slow.began.clone()),
            duration(slow.duration_seconds),
            or_dash(slow.time_to_first_byte_seconds.map(duration)),
        ]
    }));
    text.push('\n');
    columns(text, &rows, 6);
}

pub(super) fn intervals(text: &mut String, intervals: &[Interval]) {
    if intervals.is_empty() {
        return;
    }
    let headings = ["FROM", "REQUESTS", "4XX", "5XX", "ABORTED", "P50", "P99", "RECEIVED", "SENT"];
    let mut rows = vec![headings.map(str::to_owned)];
    let quantile = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
    rows.extend(intervals.iter().map(|interval| {
        [
            interval.start.clone(),
            grouped(interval.requests),
            grouped(interval.client_errors),
            grouped(interval.server_errors),
            grouped(interval.aborted),
            quantile(interval.duration.p50_seconds),
            quantile(interval.duration.p99_seconds),
            grouped(interval.bytes.received),
            grouped(interval.bytes.sent),
        ]
    }));
    text.push('\n');
    columns(text, &rows, 1);
}
