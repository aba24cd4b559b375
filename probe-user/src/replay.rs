//! `traffic-probe replay`: the counting of the kernel side, over a packet capture that anybody can look into.
//!
//! A capture is read as a stream. Each packet goes through the layers (`link`, `network` with `fragments`, `tcp`) to its
//! connection (`connections`, `talk`), where the engine of the kernel side counts (`conversation`) into the tally of the
//! service; `report` and `render` show the tallies.

mod capture;
mod clock;
mod connections;
mod conversation;
mod damage;
mod fragments;
mod link;
mod network;
mod pair;
mod render;
mod report;
mod roles;
mod routes;
mod services;
mod skip;
mod source;
mod talk;
mod tally;
mod tcp;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "lengths that tests make up are small")]
mod tests;
mod times;
mod validity;

use std::{
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result};

use self::{
    capture::{Capture, Record},
    connections::Connections,
    damage::NotACapture,
    fragments::Fragments,
    report::Report,
    routes::Routes,
    skip::{Skip, Skipped},
    tcp::Segment,
};
use crate::cli::{OutputFormat, ReplayArgs};

/// Counts a capture, and shows what was counted on standard output. The exit code is 0 if it could be read to its end.
pub fn replay(args: &ReplayArgs) -> Result<ExitCode> {
    let name = name(&args.file);
    let source = source::open(&args.file).with_context(|| format!("cannot open {name}"))?;
    let limit = usize::try_from(args.max_connections).unwrap_or(usize::MAX);
    let routes = if args.routes { Routes::Counted } else { Routes::Ignored };
    let report = count(source, &name, limit, routes).with_context(|| format!("cannot replay {name}"))?;
    let text = match args.format {
        OutputFormat::Text => render::text(&report),
        OutputFormat::Json => render::json(&report)?,
    };
    io::stdout().write_all(text.as_bytes()).context("cannot show what was counted")?;
    let Some(error) = &report.capture.error else { return Ok(ExitCode::SUCCESS) };
    eprintln!("error: {name} is damaged {error}; what could be read until there has been counted");
    Ok(ExitCode::FAILURE)
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Counts a capture as far as it can be read.
fn count(
    source: impl Read + 'static,
    name: &str,
    limit: usize,
    routes: Routes,
) -> Result<Report, NotACapture> {
    let mut capture = Capture::open(source)?;
    let mut replay = Replay::new(limit, routes);
    let damage = capture.read(|record| replay.take(record)).err();
    let mut report = replay.finish();
    name.clone_into(&mut report.capture.file);
    report.capture.packets = capture.packets();
    report.capture.error = damage.as_ref().map(ToString::to_string);
    report.capture.truncated = damage.is_some_and(|damage| damage.is_cut_off());
    Ok(report)
}

/// A replay under way.
struct Replay {
    connections: Connections,
    fragments: Fragments,
    skipped: Skipped,
    span: Option<Span>,
    cut: u64,
}

/// The times of a capture's packets.
#[derive(Clone, Copy)]
struct Span {
    /// Of the packet that came first in the file: what the engine's clock starts from.
    start: u64,
    earliest: u64,
    latest: u64,
}

impl Replay {
    fn new(limit: usize, routes: Routes) -> Self {
        Self {
            connections: Connections::new(limit, routes),
            fragments: Fragments::default(),
            skipped: Skipped::new(),
            span: None,
            cut: 0,
        }
    }

    fn take(&mut self, record: Result<Record<'_>, Skip>) {
        if let Err(skip) = record.and_then(|record| self.packet(&record)) {
            *self.skipped.entry(skip).or_default() += 1;
        }
    }

    fn packet(&mut self, record: &Record<'_>) -> Result<(), Skip> {
        let now = self.span.get_or_insert(Span::from(record.time)).note(record.time);
        self.cut += u64::from(record.bytes.len() < record.length);
        let inner = link::strip(record)?;
        let Some(datagram) = network::datagram(inner, now, &mut self.fragments)? else { return Ok(()) };
        self.connections.take(&Segment::of(&datagram)?, now)
    }

    fn finish(mut self) -> Report {
        let end = self.span.map_or(0, |span| span.latest.saturating_sub(span.start));
        let services = self.connections.finish(end);
        self.fragments.end(&mut self.skipped);
        Report::new(services, self.span, &self.skipped, self.cut)
    }
}

impl Span {
    const fn from(start: u64) -> Self {
        Self { start, earliest: start, latest: start }
    }

    /// The time since the first packet: the engine has bits for two years. A clock that goes back before it stands
    /// still.
    fn note(&mut self, time: u64) -> u64 {
        self.earliest = self.earliest.min(time);
        self.latest = self.latest.max(time);
        time.saturating_sub(self.start)
    }
}
