//! Since when nothing has happened to a service.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use probe_common::counters::ServiceCounters;

/// What was seen of each service, by its index.
#[derive(Debug, Default)]
pub(super) struct Idleness {
    seen: HashMap<u32, Seen>,
}

#[derive(Debug)]
struct Seen {
    counters: ServiceCounters,
    since: Instant,
    /// Since when its counters have been these, and nothing of it was open or waited: whoever was heard lately is no matter.
    unchanged: Instant,
    /// Whether it need not have been idle for the time.
    may_leave: bool,
}

impl Seen {
    const fn first(counters: ServiceCounters, now: Instant) -> Self {
        Self { counters, since: now, unchanged: now, may_leave: false }
    }
}

impl Idleness {
    /// Notes what a pass saw: no packet, connection or request passes without these counters. Users have been heard within
    /// their window.
    pub(super) fn note(&mut self, index: u32, counters: ServiceCounters, users: u64, now: Instant) {
        let seen = self.seen.entry(index).or_insert(Seen::first(counters, now));
        if seen.counters != counters || is_busy(&counters) {
            *seen = Seen::first(counters, now);
        } else if users > 0 {
            seen.since = now;
        }
    }

    /// Whether nothing has happened for so long, or it may leave before.
    pub(super) fn is_idle(&self, index: u32, after: Duration, now: Instant) -> bool {
        let is_due = |seen: &Seen| seen.may_leave || now.saturating_duration_since(seen.since) >= after;
        self.seen.get(&index).is_some_and(is_due)
    }

    /// Since when a service has been at rest; none if it may leave as it is.
    pub(super) fn at_rest_since(&self, index: u32) -> Option<Instant> {
        let seen = self.seen.get(&index).filter(|seen| !seen.may_leave)?;
        Some(seen.unchanged)
    }

    /// Has it leave as if it had been idle for the time, unless something happens to it before it has.
    pub(super) fn let_leave(&mut self, index: u32) {
        if let Some(seen) = self.seen.get_mut(&index) {
            seen.may_leave = true;
        }
    }

    /// Whether it may leave before the time.
    pub(super) fn may_leave(&self, index: u32) -> bool {
        self.seen.get(&index).is_some_and(|seen| seen.may_leave)
    }

    /// Whether the counters are what the latest pass saw.
    pub(super) fn is_unchanged(&self, index: u32, counters: &ServiceCounters) -> bool {
        self.seen.get(&index).is_some_and(|seen| seen.counters == *counters)
    }

    pub(super) fn forget(&mut self, index: u32) {
        self.seen.remove(&index);
    }
}

/// Whether a connection is open, or a request waits for its answer.
fn is_busy(counters: &ServiceCounters) -> bool {
    counters.opened + counters.joined > counters.closed
        || counters.progress.iter().any(|progress| progress.began > progress.ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn with_opened(opened: u64, closed: u64) -> ServiceCounters {
        ServiceCounters { opened, closed, ..ServiceCounters::default() }
    }

    #[test]
    fn a_service_is_idle_when_nothing_has_happened_for_long() {
        let begin = Instant::now();
        let mut idleness = Idleness::default();
        assert!(!idleness.is_idle(1, HOUR, begin), "never seen");
        idleness.note(1, with_opened(1, 1), 0, begin);
        assert!(!idleness.is_idle(1, HOUR, begin));
        idleness.note(1, with_opened(1, 1), 0, begin + HOUR);
        assert!(idleness.is_idle(1, HOUR, begin + HOUR));
        idleness.note(1, with_opened(2, 2), 0, begin + HOUR * 2);
        assert!(!idleness.is_idle(1, HOUR, begin + HOUR * 2), "a connection has come and gone");
    }

    #[test]
    fn what_may_leave_before_the_time_may_not_once_something_happens() {
        let begin = Instant::now();
        let mut idleness = Idleness::default();
        let later = begin + HOUR / 60;
        idleness.note(1, with_opened(1, 1), 1, begin);
        idleness.note(1, with_opened(1, 1), 1, later);
        assert_eq!(idleness.at_rest_since(1), Some(begin), "who was heard lately is no matter");
        idleness.let_leave(1);
        assert!(idleness.is_idle(1, HOUR, later) && idleness.at_rest_since(1).is_none());
        idleness.note(1, with_opened(2, 2), 0, later);
        assert!(!idleness.is_idle(1, HOUR, later) && !idleness.may_leave(1));
        assert_eq!(idleness.at_rest_since(1), Some(later));
        idleness.note(1, with_opened(3, 2), 0, later);
        idleness.note(1, with_opened(3, 2), 0, later + HOUR);
        assert_eq!(idleness.at_rest_since(1), Some(later + HOUR), "a connection is open");
    }

    #[test]
    fn who_is_connected_or_was_heard_keeps_a_service() {
        let begin = Instant::now();
        let mut idleness = Idleness::default();
        for now in [begin, begin + HOUR] {
            idleness.note(1, with_opened(1, 0), 0, now);
            idleness.note(2, with_opened(1, 1), 1, now);
        }
        assert!(!idleness.is_idle(1, HOUR, begin + HOUR), "a connection is open");
        assert!(!idleness.is_idle(2, HOUR, begin + HOUR), "it has a user");
    }
}
