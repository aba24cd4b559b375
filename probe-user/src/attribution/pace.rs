//! Looking at a whole tree (of cgroups, of processes) takes milliseconds, so it is done once a second at most.

use std::time::{Duration, Instant};

/// Less than a second, so that a tick of a second that comes a little early still may look.
const PAUSE: Duration = Duration::from_millis(900);

/// An answer, or that it is too early for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known<T> {
    /// The answer.
    Yes(T),
    /// What is asked about may have come after the last look, and the next look is not due.
    NotYet,
}

impl<T> Known<T> {
    /// The answer, made into another.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Known<U> {
        match self {
            Self::Yes(answer) => Known::Yes(make(answer)),
            Self::NotYet => Known::NotYet,
        }
    }
}

/// What may be done for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Look again.
    Look,
    /// The last look came after the question did: what it did not find is not there.
    Conclude,
    /// Neither: ask later.
    Wait,
}

/// When the last look was.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
}

impl Pace {
    /// What may be done at `now` for a question that was first asked at `since`. The caller who may look does.
    pub(super) fn ask(&mut self, now: Instant, since: Instant) -> Leave {
        match self.last {
            Some(last) if last >= since => Leave::Conclude,
            Some(last) if now.saturating_duration_since(last) < PAUSE => Leave::Wait,
            _ => {
                self.last = Some(now);
                Leave::Look
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_a_second_serves_all_who_asked_before() {
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.ask(at(0), at(0)), Leave::Look);
        assert_eq!(pace.ask(at(1), at(0)), Leave::Conclude);
        assert_eq!(pace.ask(at(2), at(2)), Leave::Wait);
        assert_eq!(pace.ask(at(1_000), at(2)), Leave::Look);
        assert_eq!(pace.ask(at(1_001), at(3)), Leave::Conclude);
    }
}
