//! `traffic-probe replay`: the counting of the kernel side, over a packet capture that anybody can look into.
//!
//! A capture is read as a stream. Each packet goes through the layers (`link`, `network` with `fragments`, `tcp`) to its
//! connection (`connections`, `talk`), where the engine of the kernel side counts (`conversation`) into the tally of the
//! service; `report` and `render` show the tallies.

mod capture;
mod clock;
mod connections;
mod conversation;
mod cut;
mod damage;
mod files;
pub mod filter;
mod fragments;
mod half;
mod interrupt;
mod link;
mod network;
mod pair;
mod render;
mod report;
mod roles;
mod routes;
mod services;
mod skip;
mod sorted;
mod source;
mod span;
mod talk;
mod tally;
mod tcp;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "lengths that tests make up are small")]
mod tests;
mod times;
mod tunnel;
mod validity;
mod watch;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use self::{
    capture::Record,
    connections::Connections,
    files::{Files, Outcome},
    filter::{Filter, Seen},
    fragments::Fragments,
    interrupt::Interrupt,
    link::Inner,
    report::{File, Order, Report},
    routes::Routes,
    skip::{Skip, Skipped},
    sorted::Sorted,
    span::Span,
    talk::Common,
    tcp::Segment,
    watch::Watch,
};
use crate::{
    cli::{OutputFormat, ReplayArgs},
    live::say,
};

/// Counts captures, and shows what was counted on standard output. The exit code is 0 if they could be read to their end.
pub fn replay(args: &ReplayArgs) -> Result<ExitCode> {
    let standard_input = args.files.iter().filter(|path| *path == Path::new("-")).count();
    ensure!(standard_input <= 1, "standard input (`-`) can be read once only; give it once");
    let interrupt = Interrupt::catch().context("cannot catch signals")?;
    let report = count(&args.files, &Wanted::of(args), &interrupt)?;
    let text = match args.format {
        OutputFormat::Text => render::text(&report),
        OutputFormat::Json => render::json(&report)?,
    };
    io::stdout().write_all(text.as_bytes()).context("cannot show what was counted")?;
    let mut code = ExitCode::SUCCESS;
    for File { file, error, .. } in &report.files {
        if let Some(error) = error {
            say(&format!(
                "error: {file} is damaged {error}; what could be read until there has been counted"
            ));
            code = ExitCode::FAILURE;
        }
    }
    if report.capture.stopped && args.files.iter().any(|path| files::has_an_end(path)) {
        let file = &report.capture.file;
        say(&format!(
            "error: a signal came before {file} was read to the end; what was read until then has been counted"
        ));
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// What is to be counted, and how.
#[derive(Clone, Debug)]
struct Wanted {
    /// Connections that are followed at a time.
    limit: usize,
    routes: Routes,
    peers: bool,
    /// How many of the slowest requests.
    top: usize,
    every: Option<Duration>,
    filter: Option<Filter>,
}

#[cfg(test)]
impl Default for Wanted {
    fn default() -> Self {
        let (limit, routes) = (1_000, Routes::Counted);
        Self { limit, routes, peers: false, top: 0, every: None, filter: None }
    }
}

impl Wanted {
    fn of(args: &ReplayArgs) -> Self {
        Self {
            limit: usize::try_from(args.max_connections).unwrap_or(usize::MAX),
            routes: if args.routes { Routes::Counted } else { Routes::Ignored },
            peers: args.peers,
            top: args.top.into(),
            every: args.every,
            filter: args.filter.clone(),
        }
    }
}

/// Counts captures as far as they can be read. Where time goes back in them, they are read in the order of times as well, if
/// they are small enough, and what makes more sense is told: either the order is wrong, or some of the times are.
fn count(paths: &[PathBuf], wanted: &Wanted, interrupt: &Rc<Interrupt>) -> Result<Report> {
    let mut as_it_stands = read(Files::open(paths, interrupt)?, wanted);
    if interrupt.has_come() {
        as_it_stands.stop(interrupt.cut.get());
        return Ok(as_it_stands);
    }
    if as_it_stands.capture.time_goes_back.is_none() || !sorted::can_be_sorted(paths) {
        return Ok(as_it_stands);
    }
    let mut files = Files::open(paths, interrupt)?;
    let mut sorted = Sorted::default();
    files.read(|record| sorted.take(record));
    let mut replay = Replay::new(wanted);
    sorted.read(|record| replay.take(record));
    let mut by_time = replay.finish(files.finish());
    if interrupt.has_come() || by_time.disorder() > as_it_stands.disorder() {
        return Ok(as_it_stands);
    }
    by_time.capture.time_goes_back = as_it_stands.capture.time_goes_back;
    by_time.capture.order = Order::Time;
    Ok(by_time)
}

/// Counts captures in the order in which their packets stand there.
fn read(mut files: Files, wanted: &Wanted) -> Report {
    let mut replay = Replay::new(wanted);
    files.read(|record| replay.take(record));
    replay.finish(files.finish())
}

/// A replay under way.
struct Replay {
    connections: Connections,
    fragments: Fragments,
    skipped: Skipped,
    span: Option<Span>,
    cut: u64,
    filter: Option<Filter>,
}

impl Replay {
    fn new(wanted: &Wanted) -> Self {
        let common = Common {
            routes: wanted.routes,
            peers: wanted.peers,
            watch: Watch::new(wanted.top, wanted.every),
            ..Common::default()
        };
        Self {
            connections: Connections::new(wanted.limit, common),
            filter: wanted.filter.clone(),
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
        let span = self.span.get_or_insert_with(|| {
            let span = Span::from(record.time);
            self.connections.begin(span);
            span
        });
        let now = span.note(record.time);
        self.cut += u64::from(record.bytes.len() < record.length);
        let inner = link::strip(record)?;
        self.datagram(inner, now)
    }

    /// Takes an IP packet, or what is in it if it is a tunnel's.
    fn datagram(&mut self, inner: Inner<'_>, now: u64) -> Result<(), Skip> {
        let Some(datagram) = network::datagram(inner, now, &mut self.fragments)? else { return Ok(()) };
        if let Some(within) = tunnel::within(&datagram, inner.depth()) {
            return self.datagram(within?, now);
        }
        let segment = Segment::of(&datagram)?;
        if !self.passes(&segment, now) {
            return Err(Skip::Filtered);
        }
        self.connections.take(&segment, now)
    }

    fn passes(&self, segment: &Segment<'_>, now: u64) -> bool {
        let (Some(filter), Some(span)) = (&self.filter, self.span) else { return true };
        filter.passes(&Seen {
            ends: [segment.from, segment.to],
            time: span.since_1970(now),
            first: span.start,
        })
    }

    fn finish(mut self, files: Vec<Outcome>) -> Report {
        let end = self.span.map_or(0, |span| span.clock(span.latest));
        let (services, watch) = self.connections.finish(end);
        self.fragments.end(&mut self.skipped);
        Report::new(services, watch, self.span, &self.skipped, self.cut, files)
    }
}
