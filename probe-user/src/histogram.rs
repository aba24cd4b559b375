//! A histogram as the kernel keeps it, in user space: exponential, sparse.

use probe_common::bucket::{LAST, PER_DOUBLING, UNIT_EXPONENT};
use smallvec::SmallVec;

/// Durations by bucket: see [`probe_common::bucket`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many fell into each bucket that is not empty, by bucket. A list, since most have a few only, and a node has
    /// a hundred thousand of them; a single one, as of what is rare, lies where else the list's address would.
    pub(crate) buckets: SmallVec<[(u16, u64); 1]>,
    /// How many there are.
    pub count: u64,
    /// Their sum, in nanoseconds.
    pub sum: u64,
}

/// The upper edge of a bucket, in seconds; it belongs to the bucket.
#[must_use]
pub fn upper_edge(bucket: u16) -> f64 {
    (f64::from(bucket) / f64::from(PER_DOUBLING) + f64::from(UNIT_EXPONENT)).exp2()
}

/// The bucket whose upper edge is nearest to a duration, in seconds, by their ratio; none if no bucket's is near.
#[must_use]
pub fn bucket_at(seconds: f64) -> Option<u16> {
    let place = (seconds.log2() - f64::from(UNIT_EXPONENT)) * f64::from(PER_DOUBLING);
    let nearest = place.round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range of buckets"
    )]
    let bucket = (0.0..=f64::from(LAST)).contains(&nearest).then_some(nearest as u16);
    bucket
}

/// The lower edge of a bucket, in seconds, which does not belong to it; 0 for the first, which holds all that is shorter.
fn lower_edge(bucket: u16) -> f64 {
    bucket.checked_sub(1).map_or(0.0, upper_edge)
}

impl Histogram {
    /// Adds `count` durations of a bucket, whose sum is `sum` nanoseconds.
    pub fn add(&mut self, bucket: u16, count: u64, sum: u64) {
        self.add_count(bucket, count);
        self.count += count;
        self.sum += sum;
    }

    fn add_count(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => self.buckets[place].1 += count,
            Err(place) => self.buckets.insert(place, (bucket, count)),
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add_count(*bucket, *count);
        }
        self.count += other.count;
        self.sum += other.sum;
    }

    /// What came since an earlier state of the same histogram. A counter that went back counts from zero, as
    /// Prometheus has it.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.count < earlier.count || self.sum < earlier.sum {
            return self.clone();
        }
        let mut before = earlier.buckets.iter().peekable();
        let mut buckets = SmallVec::new();
        for &(bucket, count) in &self.buckets {
            while before.next_if(|(earlier, _)| *earlier < bucket).is_some() {}
            let had = before.next_if(|(earlier, _)| *earlier == bucket).map_or(0, |(_, count)| *count);
            if count > had {
                buckets.push((bucket, count - had));
            }
        }
        Self { buckets, count: self.count - earlier.count, sum: self.sum - earlier.sum }
    }

    /// The mean, in seconds; none if it is empty.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64 / 1e9)
    }

    /// The duration, in seconds, below which the fraction `quantile` of the durations lie; none if it is empty.
    ///
    /// It is the geometric middle of the bucket that holds it: whatever the distribution, never more than half a
    /// bucket's width (4.5 %) off. Interpolating within the bucket would do better where durations are spread, and
    /// worse, by a whole width, where they all lie together. It never lies outside what the sum leaves possible: a
    /// single duration is told exactly.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile.clamp(0.0, 1.0) * self.count as f64;
        let mut below = 0;
        for &(bucket, count) in &self.buckets {
            below += count;
            if below as f64 >= rank {
                let middle = upper_edge(bucket) * (-0.5 / f64::from(PER_DOUBLING)).exp2();
                return Some(middle.max(self.least()?).min(self.greatest()?));
            }
        }
        None
    }

    /// The greatest duration, in seconds, that may be among them: if all others lie at the lower edges of their
    /// buckets, this one has the rest of the sum. None if it is empty.
    fn greatest(&self) -> Option<f64> {
        let &(last, _) = self.buckets.last()?;
        let others: f64 = self.others(last).map(|(bucket, count)| lower_edge(bucket) * count as f64).sum();
        Some((self.sum as f64 / 1e9 - others).clamp(lower_edge(last), upper_edge(last)))
    }

    /// The least one that may be among them, likewise.
    fn least(&self) -> Option<f64> {
        let &(first, _) = self.buckets.first()?;
        let others: f64 = self.others(first).map(|(bucket, count)| upper_edge(bucket) * count as f64).sum();
        Some((self.sum as f64 / 1e9 - others).clamp(lower_edge(first), upper_edge(first)))
    }

    /// The counts of all but one of the durations in a bucket.
    fn others(&self, of: u16) -> impl Iterator<Item = (u16, u64)> {
        self.buckets.iter().map(move |&(bucket, count)| (bucket, count - u64::from(bucket == of)))
    }

    /// How many durations were at most at the upper edge of each of some buckets that grow.
    pub fn at_most(&self, edges: impl IntoIterator<Item = u16>) -> impl Iterator<Item = u64> {
        let mut buckets = self.buckets.iter().peekable();
        let mut below = 0;
        edges.into_iter().map(move |edge| {
            while let Some((_, count)) = buckets.next_if(|(bucket, _)| *bucket <= edge) {
                below += count;
            }
            below
        })
    }
}

#[cfg(test)]
mod tests {
    use probe_common::bucket::of_nanoseconds;

    use super::*;

    fn histogram(durations: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        for ns in durations {
            histogram.add(of_nanoseconds(ns), 1, ns);
        }
        histogram
    }

    #[test]
    fn quantiles_are_right_to_within_half_a_bucket() {
        let histogram = histogram((1..=10_000).map(|i| i * 10_000));
        for quantile in [0.5, 0.95, 0.99] {
            let truth = quantile * 0.1;
            let measured = histogram.quantile(quantile).unwrap();
            assert!((measured / truth - 1.0).abs() < 0.045, "{quantile}: {measured} for {truth}");
        }
        assert!((histogram.average().unwrap() - 0.050_005).abs() < 1e-9);
    }

    #[test]
    fn quantiles_hold_wherever_in_a_bucket_all_durations_lie() {
        for ns in (48_000_000..54_000_000).step_by(100_000) {
            let truth = ns as f64 / 1e9;
            for quantile in [0.0, 0.5, 0.99, 1.0] {
                let measured = histogram([ns; 100]).quantile(quantile).unwrap();
                assert!((measured / truth - 1.0).abs() < 0.045, "{quantile}: {measured} for {truth}");
            }
        }
    }

    /// The middle of a bucket lies above half of the durations in it: a P50 above the maximum, and above the average of
    /// the only request, was shown.
    #[test]
    fn no_quantile_lies_outside_what_the_sum_leaves_possible() {
        for ns in (48_000_000..54_000_000_u64).step_by(100_000) {
            let one = histogram([ns]);
            for quantile in [0.0, 0.5, 0.99, 1.0] {
                let measured = one.quantile(quantile).unwrap();
                assert!((measured - ns as f64 / 1e9).abs() < 1e-12, "{quantile}: {measured} for {ns}");
            }
            let two = histogram([1_000_000, ns]);
            let (greatest, least) = (two.quantile(1.0).unwrap(), two.quantile(0.0).unwrap());
            // Of the shorter one no more is known than its bucket, which is 90 µs wide.
            assert!(greatest <= ns as f64 / 1e9 + 90e-6, "{greatest} for {ns}");
            assert!((least / 1e-3 - 1.0).abs() < 0.045, "{least}");
        }
    }

    /// Counts and sums of a running kernel are read one after the other.
    #[test]
    fn a_sum_that_lags_behind_the_counts_takes_no_quantile_out_of_its_bucket() {
        for sum in [0, 1, u64::MAX] {
            let mut torn = Histogram::default();
            torn.add(of_nanoseconds(50_000_000), 1, sum);
            let measured = torn.quantile(0.99).unwrap();
            assert!((measured / 0.05 - 1.0).abs() < 0.09, "{measured} with a sum of {sum}");
        }
    }

    #[test]
    fn an_empty_one_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().average(), None);
    }

    #[test]
    fn a_difference_is_what_came_since() {
        let earlier = histogram([1_000, 2_000_000]);
        let mut later = earlier.clone();
        later.merge(&histogram([2_000_000, 5_000_000]));
        assert_eq!(later.since(&earlier), histogram([2_000_000, 5_000_000]));
        assert_eq!(earlier.since(&later), earlier, "a reset counts from zero");
    }

    #[test]
    fn powers_of_two_are_edges() {
        let histogram = histogram([1 << 20, 1_953_125, 1_953_126]);
        // 2^-9 s is 1,953,125 ns.
        let cumulative: Vec<_> = histogram
            .at_most(
                [-30, -10, -9, -8, 5].map(|exponent: i32| bucket_at(f64::from(exponent).exp2()).unwrap()),
            )
            .collect();
        assert_eq!(cumulative, [0, 0, 2, 3, 3]);
    }
}
