//! Series of services that live, and since when nothing has been added to them.
//!
//! A series is what is told apart in the metrics: the requests of a service by method, status and route. Its entries go
//! together. Times to first byte are one histogram of all of them, of which the kernel side keeps some under methods and
//! statuses of their own: they leave for the rest, which stays ([`Series::rest`]), so that the histogram is what it was.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use probe_common::{
    exchange::{ABORTED, LatencyKey, Span},
    protocol::Method,
    route,
};

/// In how many parts of the time the sums are looked at: what is idle leaves by as much later at most.
const LOOKS: u32 = 8;

/// Entries that leave together, by what their keys have in common: no bucket, and of the spans the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Series(LatencyKey);

impl Series {
    /// The one of an entry; none of an entry that stays as long as its service.
    pub(super) fn of(key: &LatencyKey) -> Option<Self> {
        let span = match Span::from_key(key.span)? {
            Span::Both | Span::Duration | Span::Admission => Span::Both,
            Span::FirstByte => Span::FirstByte,
            Span::Queue | Span::Service | Span::Delivery | Span::RoundTrip => return None,
        };
        let series = Self(LatencyKey { bucket: 0, span: span as u8, ..*key });
        (series.0 != series.rest(0)).then_some(series)
    }

    /// The index of its service.
    pub(super) const fn service(&self) -> u32 {
        self.0.service
    }

    /// What all its entries have in common.
    pub(super) const fn key(&self) -> &LatencyKey {
        &self.0
    }

    /// Whether it is told apart in the metrics.
    pub(super) const fn is_shown(&self) -> bool {
        self.0.span == Span::Both as u8
    }

    /// The entry of its service's times to first byte that keeps what series leave behind in a bucket: it looks like one of
    /// aborted requests of no known method, of whose times it has some as well.
    pub(super) const fn rest(&self, bucket: u16) -> LatencyKey {
        LatencyKey {
            bucket,
            method: Method::Other as u8,
            status: ABORTED,
            span: Span::FirstByte as u8,
            route: route::OTHER,
            ..self.0
        }
    }

    /// The entry of this series that one of another has its place in.
    pub(super) const fn entry_like(&self, other: &LatencyKey) -> LatencyKey {
        LatencyKey { bucket: other.bucket, span: other.span, ..self.0 }
    }
}

/// How much a series had, and since when.
#[derive(Debug)]
struct Seen {
    count: u64,
    since: Instant,
}

/// What was seen of all series, now and then: in between nothing is asked of them.
#[derive(Debug)]
pub(super) struct SeriesIdleness {
    after: Duration,
    seen: HashMap<Series, Seen>,
    next: Option<Instant>,
}

impl SeriesIdleness {
    /// For series that are idle after so long.
    pub(super) fn new(after: Duration, now: Instant) -> Self {
        Self { after, seen: HashMap::new(), next: now.checked_add(after).map(|_| now) }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| now >= next)
    }

    /// Notes how much each series has, and which of them have had as much for the time, those with the least first.
    pub(super) fn look(&mut self, counts: &HashMap<Series, u64>, now: Instant) -> Vec<Series> {
        self.next = now.checked_add(self.after / LOOKS);
        self.seen.retain(|series, _| counts.contains_key(series));
        let mut idle = Vec::new();
        for (&series, &count) in counts {
            let seen = self.seen.entry(series).or_insert(Seen { count, since: now });
            if seen.count != count {
                *seen = Seen { count, since: now };
            } else if now.saturating_duration_since(seen.since) >= self.after {
                idle.push(series);
            }
        }
        idle.sort_unstable_by_key(|series| (counts[series], *series));
        idle
    }

    /// Forgets one that has left: if it comes back, it begins anew.
    pub(super) fn forget(&mut self, series: &Series) {
        self.seen.remove(series);
    }

    /// Has the next pass look again: not all that was idle could leave at once.
    pub(super) fn look_soon(&mut self, now: Instant) {
        self.next = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn key(span: Span, status: u16, bucket: u16) -> LatencyKey {
        LatencyKey { service: 1, status, bucket, span: span as u8, ..LatencyKey::default() }
    }

    fn series(status: u16) -> Series {
        Series::of(&key(Span::Both, status, 7)).unwrap()
    }

    #[test]
    fn entries_of_all_buckets_and_both_durations_are_one_series() {
        for span in [Span::Both, Span::Duration, Span::Admission] {
            assert_eq!(Series::of(&key(span, 200, 9)), Some(series(200)));
        }
        assert!(series(200).is_shown());
        let first_byte = Series::of(&key(Span::FirstByte, 200, 9)).unwrap();
        assert!(!first_byte.is_shown() && first_byte != series(200));
        assert_eq!(series(200).entry_like(&key(Span::Duration, 404, 9)), key(Span::Duration, 200, 9));
    }

    #[test]
    fn the_rest_and_what_no_client_chooses_stay() {
        assert_eq!(Series::of(&series(200).rest(9)), None);
        for span in [Span::Queue, Span::Service, Span::Delivery, Span::RoundTrip] {
            assert_eq!(Series::of(&key(span, 0, 9)), None);
        }
    }

    #[test]
    fn a_series_is_idle_when_its_sum_has_not_changed_for_long() {
        let begin = Instant::now();
        let mut idleness = SeriesIdleness::new(HOUR, begin);
        assert!(idleness.is_due(begin));
        let at = |steady, growing| HashMap::from([(series(200), growing), (series(404), steady)]);
        assert!(idleness.look(&at(3, 1), begin).is_empty());
        assert!(!idleness.is_due(begin + HOUR / 9) && idleness.is_due(begin + HOUR / 8));
        assert!(idleness.look(&at(3, 2), begin + HOUR / 8).is_empty());
        assert_eq!(idleness.look(&at(3, 2), begin + HOUR), [series(404)]);
        assert_eq!(idleness.look(&at(3, 2), begin + HOUR * 9 / 8), [series(200), series(404)]);
        idleness.forget(&series(404));
        assert_eq!(idleness.look(&at(3, 2), begin + HOUR * 9 / 8), [series(200)], "it has come back");
        assert!(idleness.look(&HashMap::new(), begin + HOUR * 2).is_empty());
        assert!(idleness.look(&at(3, 2), begin + HOUR * 2).is_empty(), "it has come back");
    }

    #[test]
    fn where_series_stay_nobody_looks() {
        let now = Instant::now();
        assert!(!SeriesIdleness::new(Duration::MAX, now).is_due(now + HOUR));
    }
}
