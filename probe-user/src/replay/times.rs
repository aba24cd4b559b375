//! Durations of a service: by the kernel's buckets, and the shortest and the longest one.

use probe_common::bucket;

use crate::histogram::Histogram;

/// The longest duration that the engine can tell (`probe_common::pending`), 26 days; what is longer is the jump of a clock.
const LONGEST: u64 = 26 * 86_400 * 1_000_000_000;

/// A histogram that knows its extremes.
#[derive(Clone, Debug)]
pub(super) struct Times {
    histogram: Histogram,
    shortest: u64,
    longest: u64,
    unknown: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { histogram: Histogram::default(), shortest: u64::MAX, longest: 0, unknown: 0 }
    }
}

impl Times {
    /// Adds a duration in nanoseconds, so many times. The sum saturates: the clock of a capture may say anything.
    pub(super) fn add(&mut self, nanoseconds: u64, count: u64) {
        let room = u64::MAX - self.histogram.sum;
        let sum = nanoseconds.saturating_mul(count).min(room);
        self.histogram.add(bucket::of_nanoseconds(nanoseconds), count, sum);
        if count > 0 {
            self.shortest = self.shortest.min(nanoseconds);
            self.longest = self.longest.max(nanoseconds);
        }
    }

    /// The duration from one time to another, if it is known.
    pub(super) fn between(from: u64, to: u64) -> Option<u64> {
        to.checked_sub(from).filter(|duration| *duration <= LONGEST)
    }

    /// Adds a duration from one time to another; none is known if that is the earlier one, or too much later to tell.
    pub(super) fn add_from(&mut self, from: u64, to: u64, count: u64) {
        match Self::between(from, to) {
            Some(duration) => self.add(duration, count),
            None => self.unknown += count,
        }
    }

    /// How many there are, known or not.
    pub(super) const fn all(&self) -> u64 {
        self.histogram.count + self.unknown
    }

    /// How many are not known, because time went back.
    pub(super) const fn unknown(&self) -> u64 {
        self.unknown
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let sum = self.histogram.sum.saturating_add(other.histogram.sum);
        self.histogram.sum = 0;
        self.histogram.merge(&Histogram { sum: 0, ..other.histogram.clone() });
        self.histogram.sum = sum;
        self.shortest = self.shortest.min(other.shortest);
        self.longest = self.longest.max(other.longest);
        self.unknown += other.unknown;
    }

    pub(super) fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The longest, in nanoseconds.
    pub(super) fn longest(&self) -> u64 {
        self.longest
    }

    /// The duration, in seconds, below which a fraction of them lies: as of the kernel's buckets, but never outside what
    /// was seen.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        let estimate = self.histogram.quantile(quantile)?;
        Some(estimate.max(seconds(self.shortest)).min(seconds(self.longest)))
    }
}
