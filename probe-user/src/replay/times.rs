//! Durations of a service: by the kernel's buckets, and the longest one.

use probe_common::bucket;

use crate::histogram::Histogram;

/// A histogram that knows its maximum.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    histogram: Histogram,
    longest: u64,
}

impl Times {
    /// Adds a duration in nanoseconds, so many times. The sum saturates: the clock of a capture may say anything.
    pub(super) fn add(&mut self, nanoseconds: u64, count: u64) {
        let room = u64::MAX - self.histogram.sum;
        let sum = nanoseconds.saturating_mul(count).min(room);
        self.histogram.add(bucket::of_nanoseconds(nanoseconds), count, sum);
        self.longest = self.longest.max(nanoseconds);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let sum = self.histogram.sum.saturating_add(other.histogram.sum);
        self.histogram.sum = 0;
        self.histogram.merge(&Histogram { sum: 0, ..other.histogram.clone() });
        self.histogram.sum = sum;
        self.longest = self.longest.max(other.longest);
    }

    pub(super) fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The longest, in nanoseconds.
    pub(super) fn longest(&self) -> u64 {
        self.longest
    }
}
