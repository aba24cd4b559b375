//! Captures that are built in memory, and what they come to.

mod damage;
mod files;
mod fragments;
mod hostile;
mod lives;
mod quantiles;
mod requests;
mod roles;
mod routes;
mod shapes;
mod shown;
mod times;
mod tools;
mod tunnels;
mod validity;
mod wire;

use std::io::{Cursor, Read};

use super::{
    Wanted,
    damage::NotACapture,
    files::Files,
    read,
    report::{Report, Service},
    routes::Routes,
};
use files::{Format, file};
use wire::{Link, Packet};

/// Counts a capture as far as it can be read.
fn count(
    source: impl Read + 'static,
    name: &str,
    limit: usize,
    routes: Routes,
) -> Result<Report, NotACapture> {
    Ok(read(Files::of(name, source)?, &Wanted { limit, routes, ..Wanted::default() }))
}

/// Replays a file that has to be readable to its end.
fn replay(file: Vec<u8>) -> Report {
    let report = count(Cursor::new(file), "test", 1_000, Routes::Counted).expect("a capture");
    assert_eq!(report.capture.error, None);
    report
}

/// Replays packets in the usual kind of file.
fn replayed(packets: &[Packet]) -> Report {
    replay(file(Format::PCAP, Link::Ethernet, packets))
}

/// The only service of a capture.
fn only(report: &Report) -> &Service {
    assert_eq!(report.services.len(), 1, "{report:#?}");
    &report.services[0]
}

/// Requests as `METHOD status: count`.
fn kinds(service: &Service) -> Vec<String> {
    service.by_status.iter().map(|kind| format!("{} {}: {}", kind.method, kind.status, kind.count)).collect()
}

/// Whether everything about a service was measured.
fn nothing_escaped(report: &Report) {
    assert!(report.services.iter().all(|service| service.unmeasured.is_empty()), "{report:#?}");
    assert!(report.capture.skipped.is_empty(), "{report:#?}");
}
