//! What is looked at beside the counters of services: the slowest requests, and figures over time.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use probe_common::{connection::Side, exchange::ABORTED, protocol::Method};

use super::{span::Span, tally::Lasted, times::Times};

/// Intervals that are kept: a day of seconds, and some.
const INTERVALS: usize = 100_000;

/// A request that has ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) method: Method,
    pub(super) status: u16,
    /// Where routes are looked for.
    pub(super) route: Option<Arc<str>>,
    pub(super) lasted: Lasted,
}

/// A request, with who asked whom.
#[derive(Clone, Debug)]
pub(super) struct Slow {
    duration: u64,
    /// How many came before it: of two that took as long, the first one is kept.
    number: u64,
    pub(super) server: SocketAddr,
    pub(super) client: SocketAddr,
    pub(super) ended: Ended,
}

/// What came in an interval.
#[derive(Clone, Debug, Default)]
pub(super) struct Interval {
    pub(super) requests: u64,
    pub(super) client_errors: u64,
    pub(super) server_errors: u64,
    pub(super) aborted: u64,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) duration: Times,
}

/// All that is looked at.
#[derive(Default)]
pub(super) struct Watch {
    top: usize,
    slowest: BinaryHeap<Reverse<Slow>>,
    number: u64,
    /// In nanoseconds; none if nobody asks.
    every: Option<u64>,
    /// By how many there are from 1970 to their start.
    pub(super) intervals: BTreeMap<u64, Interval>,
    /// Requests in intervals for which there was no room.
    pub(super) beyond: u64,
    /// What tells the time of the engine's clock.
    pub(super) span: Option<Span>,
}

impl Watch {
    pub(super) fn new(top: usize, every: Option<Duration>) -> Self {
        let every = every.map(|every| u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1));
        Self { top, every, ..Self::default() }
    }

    /// Takes note of a request that has ended.
    pub(super) fn ended(&mut self, server: SocketAddr, client: SocketAddr, ended: Ended) {
        let Lasted { began, ended: end, .. } = ended.lasted;
        if let Some(interval) = self.interval(end) {
            interval.requests += 1;
            interval.client_errors += u64::from(ended.status / 100 == 4);
            interval.server_errors += u64::from(ended.status / 100 == 5);
            interval.aborted += u64::from(ended.status == ABORTED);
            interval.duration.add_from(began, end, 1);
        } else if self.every.is_some() {
            self.beyond += 1;
        }
        let Some(duration) = Times::between(began, end).filter(|_| self.top > 0) else { return };
        self.number += 1;
        self.slowest.push(Reverse(Slow { duration, number: self.number, server, client, ended }));
        if self.slowest.len() > self.top {
            self.slowest.pop();
        }
    }

    /// Takes note of payload.
    pub(super) fn carried(&mut self, side: Side, bytes: u64, now: u64) {
        if bytes > 0
            && let Some(interval) = self.interval(now)
        {
            match side {
                Side::Request => interval.received += bytes,
                Side::Response => interval.sent += bytes,
            }
        }
    }

    fn interval(&mut self, now: u64) -> Option<&mut Interval> {
        let number = self.span?.since_1970(now) / self.every?;
        if self.intervals.len() >= INTERVALS && !self.intervals.contains_key(&number) {
            return None;
        }
        Some(self.intervals.entry(number).or_default())
    }

    /// How long an interval is, in nanoseconds.
    pub(super) fn every(&self) -> Option<u64> {
        self.every
    }

    /// The slowest requests, the slowest first.
    pub(super) fn into_slowest(self) -> Vec<Slow> {
        self.slowest.into_sorted_vec().into_iter().map(|Reverse(slow)| slow).collect()
    }
}

impl Ord for Slow {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.duration, Reverse(self.number)).cmp(&(other.duration, Reverse(other.number)))
    }
}

impl PartialOrd for Slow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Slow {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Slow {}
