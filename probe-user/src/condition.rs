//! Something that should hold and may fail many times a second: told when it begins to fail and when it holds again, not each time.

use std::time::{Duration, Instant};

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// For how long it must not have failed until it holds again.
    calm: Duration,
    /// How often it has failed, and when it did last; none while it holds.
    failing: Option<(u64, Instant)>,
}

impl Condition {
    /// One that holds, and after a failure does so again once there was none for so long.
    #[must_use]
    pub const fn lasting(calm: Duration) -> Self {
        Self { calm, failing: None }
    }

    /// Notes a failure. Whether it is to be told: it held until now.
    pub fn fails(&mut self, now: Instant) -> bool {
        let before = self.failing.map(|(failures, _)| failures);
        self.failing = Some((before.unwrap_or_default() + 1, now));
        before.is_none()
    }

    /// Notes that it did not fail. If that is to be told, how often it had failed.
    pub fn holds(&mut self, now: Instant) -> Option<u64> {
        let (failures, last) = self.failing?;
        (now.saturating_duration_since(last) >= self.calm).then(|| {
            self.failing = None;
            failures
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_one_state() {
        let (second, begin) = (Duration::from_secs(1), Instant::now());
        let mut condition = Condition::lasting(second * 10);
        assert_eq!(condition.holds(begin), None);
        assert!(condition.fails(begin));
        for tenth in 1..100 {
            let now = begin + second / 10 * tenth;
            assert_eq!(condition.holds(now), None);
            assert!(!condition.fails(now), "it is told once");
        }
        let last = begin + second / 10 * 99;
        assert_eq!(condition.holds(last + second * 9), None, "it may fail again");
        assert_eq!(condition.holds(last + second * 10), Some(100));
        assert_eq!(condition.holds(last + second * 11), None);
        assert!(condition.fails(last + second * 12), "it held meanwhile");
    }
}
