//! How steps are told: one line each, saying what and why.

use std::time::{Duration, Instant};

/// How much is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Every step, also one with nothing to do.
    Every,
    /// Only what changes something.
    Changes,
}

/// The teller of a set-up.
pub(crate) struct Steps {
    detail: Detail,
    started: Instant,
    changed: bool,
}

impl Steps {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { detail, started: Instant::now(), changed: false }
    }

    /// A step with nothing to do.
    pub(crate) fn there(&self, what: &str, why: &str) {
        if self.detail == Detail::Every {
            eprintln!("setup: already there: {what} ({why})");
        }
    }

    /// A step about to be taken.
    pub(crate) fn doing(&mut self, what: &str, why: &str) {
        self.changed = true;
        eprintln!("setup: {what} ({why})");
    }

    /// The end of it all.
    pub(crate) fn finish(&self) {
        if self.changed || self.detail == Detail::Every {
            eprintln!("setup: done in {}", in_words(self.started.elapsed()));
        }
    }
}

fn in_words(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_are_in_milliseconds() {
        assert_eq!(in_words(Duration::from_millis(34)), "34 ms");
        assert_eq!(in_words(Duration::from_millis(83_460)), "83.5 s");
    }
}
