//! What a replay came to, as a document: the shape of `--format json`, which `docs/reference/replay.md` describes.

mod parts;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use humantime::format_rfc3339_nanos;
use probe_common::{
    exchange::{ABORTED, CANCELLED, code_of},
    protocol::Method,
};
use serde::Serialize;

use super::{
    damage::Damage,
    files::Outcome,
    services::{Row, Services},
    skip::{Skip, Skipped},
    span::Span,
    tally::{Connections, Tally},
    times::Times,
    watch::Watch,
};
pub(super) use parts::{File, Interval, Peer, Slowest, Waiting};

/// All that was counted.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) services: Vec<Service>,
    /// With `--top`: the slowest requests, the slowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) slowest: Vec<Slowest>,
    /// With `--every`: figures over time. Intervals in which nothing came are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) intervals: Vec<Interval>,
    /// Requests in intervals beyond the 100,000 that are kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) beyond_intervals: u64,
    pub(super) capture: Capture,
    /// The files that it was read from.
    pub(super) files: Vec<File>,
}

/// A service, and what it speaks.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the document's own names")]
pub(super) struct Service {
    /// Address and port of the server; `other` for those that found no room.
    pub(super) service: String,
    pub(super) protocol: &'static str,
    /// Answered, or ended without an answer.
    pub(super) requests: u64,
    /// Answered.
    pub(super) responses: u64,
    /// Answered with 4xx.
    pub(super) client_errors: u64,
    /// Answered with 5xx.
    pub(super) server_errors: u64,
    /// Left by the server without an answer.
    pub(super) aborted: u64,
    /// Left by the client without an answer.
    pub(super) cancelled: u64,
    /// Answers that were not all there when the client ended the connection.
    pub(super) cut_short_by_client: u64,
    /// Answers that were not all there when the server ended the connection.
    pub(super) cut_short_by_server: u64,
    /// Without an answer when the capture ended; not among `requests`.
    pub(super) in_flight: u64,
    /// The same by what is known of them.
    pub(super) waiting: Vec<Waiting>,
    pub(super) by_status: Vec<Kind>,
    /// Only where routes are counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_route: Vec<RouteKind>,
    /// Only where clients are told apart; who has most bytes comes first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) by_peer: Vec<Peer>,
    pub(super) time_to_first_byte: Latency,
    pub(super) duration: Latency,
    /// From the first byte of the response until the client has acknowledged its last one.
    pub(super) delivery: Latency,
    /// Payload, each byte of a stream once.
    pub(super) bytes: Ways,
    /// As they were captured.
    pub(super) packets: Ways,
    /// Packets that bear nothing but what was seen before: sent again, or captured twice.
    pub(super) repeated: Ways,
    pub(super) connections: ConnectionCounts,
    /// What escaped, by reason.
    pub(super) unmeasured: BTreeMap<&'static str, u64>,
}

/// Requests of a method and a status.
#[derive(Debug, Serialize)]
pub(super) struct Kind {
    pub(super) method: &'static str,
    /// As the label of the metrics has it: the code, `aborted` or `cancelled`.
    pub(super) status: String,
    pub(super) count: u64,
    pub(super) duration: Latency,
}

/// Requests of a route, a method and a status.
#[derive(Debug, Serialize)]
pub(super) struct RouteKind {
    pub(super) route: String,
    #[serde(flatten)]
    pub(super) kind: Kind,
}

/// Durations. The quantiles are those of the kernel's buckets, right to within 4.5 %; none if there is no duration.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) count: u64,
    /// Not among them: durations that are not known, because time goes back within them.
    pub(super) unknown: u64,
    pub(super) sum_seconds: f64,
    pub(super) max_seconds: f64,
    pub(super) p50_seconds: Option<f64>,
    pub(super) p95_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
}

/// What went to the service, and what came from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Ways {
    pub(super) received: u64,
    pub(super) sent: u64,
}

/// What became of connections: see [`Connections`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct ConnectionCounts {
    pub(super) opened: u64,
    pub(super) joined: u64,
    pub(super) closed: u64,
    pub(super) reset: u64,
    pub(super) reused: u64,
    pub(super) failed: u64,
    pub(super) half_open: u64,
    pub(super) open: u64,
    pub(super) evicted: u64,
}

/// The capture itself.
#[derive(Debug, Serialize)]
pub(super) struct Capture {
    pub(super) file: String,
    pub(super) packets: u64,
    /// Time of the earliest packet, in RFC 3339.
    pub(super) first: Option<String>,
    /// Time of the latest packet.
    pub(super) last: Option<String>,
    /// Seconds between the two.
    pub(super) seconds: f64,
    /// That, and how far, packets are older than those before them in the file; none if time never goes back.
    pub(super) time_goes_back: Option<GoesBack>,
    /// In which order the packets were counted.
    pub(super) order: Order,
    /// Packets of which not all was captured.
    pub(super) cut_packets: u64,
    /// Packets that are part of no connection, by reason.
    pub(super) skipped: BTreeMap<&'static str, u64>,
    /// Whether a signal ended the reading.
    pub(super) stopped: bool,
    /// Whether the file ends in the middle of a record.
    pub(super) truncated: bool,
    /// What kept the file from being read to its end.
    pub(super) error: Option<String>,
}

impl Report {
    /// Takes note that a signal ended the reading; where something was left unread, that is no damage.
    pub(super) fn stop(&mut self, cut: bool) {
        let capture = &mut self.capture;
        capture.stopped = true;
        if cut && capture.truncated {
            (capture.truncated, capture.error) = (false, None);
            self.files.iter_mut().for_each(|file| file.error = None);
        }
    }
}

/// Time that goes back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct GoesBack {
    /// How often.
    pub(super) times: u64,
    /// By how much at most.
    pub(super) seconds: f64,
}

/// An order of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// As they stand in the file.
    File,
    /// By their times.
    Time,
}

impl Report {
    pub(super) fn new(
        services: Services,
        watch: Watch,
        span: Option<Span>,
        skipped: &Skipped,
        cut: u64,
        files: Vec<Outcome>,
    ) -> Self {
        let capture = Capture {
            file: files.iter().map(|file| &*file.name).collect::<Vec<_>>().join(", "),
            packets: files.iter().map(|file| file.packets).sum(),
            first: span.map(|span| time(span.earliest)),
            last: span.map(|span| time(span.latest)),
            seconds: seconds(span.map_or(0, |span| span.latest - span.earliest)),
            cut_packets: cut,
            skipped: skipped.iter().map(|(skip, count)| (skip.label(), *count)).collect(),
            time_goes_back: span
                .filter(|span| span.steps_back > 0)
                .map(|span| GoesBack { times: span.steps_back, seconds: seconds(span.furthest_back) }),
            order: Order::File,
            stopped: false,
            truncated: files.iter().filter_map(|file| file.damage.as_ref()).any(Damage::is_cut_off),
            error: files.iter().find_map(|file| file.damage.as_ref()).map(ToString::to_string),
        };
        let end = span.map_or(0, |span| span.clock(span.latest));
        Self {
            services: services.rows().into_iter().map(|row| Service::new(row, end)).collect(),
            intervals: Interval::all(&watch),
            beyond_intervals: watch.beyond,
            slowest: watch.into_slowest().iter().map(|slow| Slowest::new(slow, span)).collect(),
            capture,
            files: files.into_iter().map(File::from).collect(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A time in nanoseconds since 1970, in RFC 3339.
fn time(nanoseconds: u64) -> String {
    format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(nanoseconds)).to_string()
}

impl Report {
    /// How little sense the order makes in which packets were counted: what could not be told, and what has lost its
    /// beginning or comes behind its end.
    pub(super) fn disorder(&self) -> u64 {
        let of_service = |service: &Service| {
            let ConnectionCounts { joined, reused, half_open, .. } = service.connections;
            let unmeasured: u64 = service.unmeasured.values().sum();
            service.unknown() + unmeasured + joined + reused + half_open
        };
        let behind = self.capture.skipped.get(Skip::AfterEnd.label()).copied().unwrap_or_default();
        self.services.iter().map(of_service).sum::<u64>() + behind
    }
}

impl Service {
    /// Durations that are not known.
    pub(super) fn unknown(&self) -> u64 {
        self.duration.unknown.max(self.time_to_first_byte.unknown)
    }

    fn new(row: Row, end: u64) -> Self {
        let Row { service, protocol, tally } = row;
        Self {
            service: service.map_or_else(|| "other".to_owned(), |server| server.to_string()),
            protocol: protocol.label(),
            requests: tally.count(|_| true),
            responses: tally.responses(),
            client_errors: tally.count(|status| status / 100 == 4),
            server_errors: tally.count(|status| status / 100 == 5),
            aborted: tally.count(|status| status == ABORTED),
            cancelled: tally.count(|status| status == CANCELLED),
            cut_short_by_client: tally.cut_by_client,
            cut_short_by_server: tally.cut_by_server,
            in_flight: tally.in_flight,
            waiting: tally.waiting.iter().map(|(kind, waited)| Waiting::new(kind, waited, end)).collect(),
            by_status: kinds(&tally),
            by_route: route_kinds(&tally),
            by_peer: Peer::all(&tally),
            time_to_first_byte: Latency::new(&tally.first_byte),
            duration: Latency::new(&tally.duration),
            delivery: Latency::new(&tally.delivery),
            bytes: Ways { received: tally.received.bytes, sent: tally.sent.bytes },
            packets: Ways { received: tally.received.packets, sent: tally.sent.packets },
            repeated: Ways { received: tally.received_again, sent: tally.sent_again },
            connections: tally.connections.into(),
            unmeasured: tally.unmeasured,
        }
    }
}

fn kinds(tally: &Tally) -> Vec<Kind> {
    tally.requests.iter().map(|((method, status), times)| Kind::new(*method, *status, times)).collect()
}

fn route_kinds(tally: &Tally) -> Vec<RouteKind> {
    let kind = |((route, method, status), times): (&(Arc<str>, Method, u16), &Times)| RouteKind {
        route: route.to_string(),
        kind: Kind::new(*method, *status, times),
    };
    tally.by_route.iter().map(kind).collect()
}

/// As the label of the metrics has it.
fn label(status: u16) -> String {
    match code_of(status) {
        ABORTED => "aborted".to_owned(),
        CANCELLED => "cancelled".to_owned(),
        code => code.to_string(),
    }
}

impl Kind {
    fn new(method: Method, status: u16, times: &Times) -> Self {
        let (count, duration) = (times.all(), Latency::new(times));
        Self { method: method.label(), status: label(status), count, duration }
    }
}

impl Latency {
    fn new(times: &Times) -> Self {
        let histogram = times.histogram();
        Self {
            count: histogram.count,
            unknown: times.unknown(),
            sum_seconds: seconds(histogram.sum),
            max_seconds: seconds(times.longest()),
            p50_seconds: times.quantile(0.5),
            p95_seconds: times.quantile(0.95),
            p99_seconds: times.quantile(0.99),
        }
    }
}

impl From<Connections> for ConnectionCounts {
    fn from(connections: Connections) -> Self {
        let Connections { opened, joined, closed, reset, reused, failed, half_open, open, evicted } =
            connections;
        Self { opened, joined, closed, reset, reused, failed, half_open, open, evicted }
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
