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
    /// Not to be looked at before, since a socket belonged to it.
    not_before: Instant,
}

impl Idleness {
    /// Notes what a pass saw: no packet, connection or request passes without these counters. Users have been heard within
    /// their window.
    pub(super) fn note(&mut self, index: u32, counters: ServiceCounters, users: u64, now: Instant) {
        let seen = self.seen.entry(index).or_insert(Seen { counters, since: now, not_before: now });
        if seen.counters != counters || users > 0 || is_busy(&counters) {
            *seen = Seen { counters, since: now, not_before: now };
        }
    }

    /// Whether nothing has happened for so long, and it is time to look.
    pub(super) fn is_idle(&self, index: u32, after: Duration, now: Instant) -> bool {
        self.seen
            .get(&index)
            .is_some_and(|seen| now.saturating_duration_since(seen.since) >= after && now >= seen.not_before)
    }

    /// Whether the counters are what the latest pass saw.
    pub(super) fn is_unchanged(&self, index: u32, counters: &ServiceCounters) -> bool {
        self.seen.get(&index).is_some_and(|seen| seen.counters == *counters)
    }

    /// Puts off the next look.
    pub(super) fn put_off(&mut self, index: u32, until: Instant) {
        if let Some(seen) = self.seen.get_mut(&index) {
            seen.not_before = until;
        }
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
        idleness.put_off(1, begin + HOUR * 2);
        assert!(!idleness.is_idle(1, HOUR, begin + HOUR));
        assert!(idleness.is_idle(1, HOUR, begin + HOUR * 2));
        idleness.note(1, with_opened(2, 2), 0, begin + HOUR * 2);
        assert!(!idleness.is_idle(1, HOUR, begin + HOUR * 2), "a connection has come and gone");
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
