//! The edges of classic histograms: some of those that the kernel's buckets have.

use std::{fmt, sync::Arc};

use crate::histogram::{bucket_at, upper_edge};

/// The most that a histogram may have: each is a series of every histogram.
const MOST: usize = 64;

/// Upper edges of classic histograms, which grow: those of buckets that the kernel keeps, so that the counts at them are exact.
#[derive(Clone, PartialEq, Eq)]
pub struct Edges(Arc<[u16]>);

impl Default for Edges {
    /// Powers of two, from 2^-17 s (about 8 µs) to 2^5 s (32 s).
    fn default() -> Self {
        Self((-17..=5).filter_map(|exponent| bucket_at(f64::from(exponent).exp2())).collect())
    }
}

impl Edges {
    /// The kernel's buckets that they close.
    pub(super) fn buckets(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }

    /// The edges themselves, in seconds.
    pub fn seconds(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|bucket| upper_edge(*bucket))
    }
}

impl fmt::Debug for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.seconds()).finish()
    }
}

/// Why a list of edges is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEdges {
    /// It is no number.
    #[error("--buckets: `{0}` is not a number of seconds: write a list such as 0.005,0.01,0.1,1,10")]
    Number(String),
    /// It is one that no bucket of the kernel comes near.
    #[error(
        "--buckets: {0} s is not between 1 µs and 1 hour, where the kernel's histograms have their edges"
    )]
    Range(String),
    /// It does not come behind the one before.
    #[error("--buckets: {1} s has to be at least 10 % above {0} s: the kernel keeps no finer buckets")]
    Order(String, String),
    /// There are too many.
    #[error("--buckets: {0} edges are more than {MOST}: each is a time series more of every histogram")]
    Many(usize),
}

impl Edges {
    /// Reads edges in seconds. Each becomes the nearest that the kernel's buckets have, which is less than 4.5 % away.
    pub fn read<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, BadEdges> {
        let mut buckets: Vec<u16> = Vec::new();
        let mut before = "";
        for item in items.into_iter().map(str::trim) {
            let seconds: f64 = item.parse().map_err(|_| BadEdges::Number(item.to_owned()))?;
            let in_range = (1e-6..=3600.0).contains(&seconds);
            let bucket =
                bucket_at(seconds).filter(|_| in_range).ok_or_else(|| BadEdges::Range(item.to_owned()))?;
            if buckets.last().is_some_and(|last| *last >= bucket) {
                return Err(BadEdges::Order(before.to_owned(), item.to_owned()));
            }
            buckets.push(bucket);
            before = item;
        }
        if buckets.len() > MOST {
            return Err(BadEdges::Many(buckets.len()));
        }
        Ok(Self(buckets.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_powers_of_two_by_default() {
        let powers = (-17..=5).map(|exponent| f64::from(exponent).exp2());
        assert!(Edges::default().seconds().eq(powers), "{:?}", Edges::default());
    }

    #[test]
    fn what_is_asked_for_becomes_the_nearest_edge_of_the_kernels() {
        let asked = [0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0];
        let edges = Edges::read("0.005,0.01, 0.025,0.1,0.5,1,2.5,10".split(',')).unwrap();
        assert_eq!(edges.seconds().count(), asked.len());
        for (edge, asked) in edges.seconds().zip(asked) {
            assert!((edge / asked).log2().abs() <= 1.0 / 16.0, "{edge} for {asked}");
        }
        let exact = |power: f64| edges.seconds().any(|edge| edge.to_bits() == power.to_bits());
        assert!(exact(0.5) && exact(1.0), "{edges:?}");
    }

    #[test]
    fn what_is_no_list_of_edges_is_refused_in_words() {
        let refusal = |list: &str| Edges::read(list.split(',')).unwrap_err().to_string();
        assert!(refusal("").contains("not a number of seconds"), "{}", refusal(""));
        assert!(refusal("1,fast").contains("`fast` is not a number"));
        for outside in ["0", "-1", "inf", "NaN", "1e-9", "4000"] {
            assert!(refusal(outside).contains("between 1 µs and 1 hour"), "{}", refusal(outside));
        }
        for disorder in ["1,0.5", "1,1", "1,1.01"] {
            assert!(refusal(disorder).contains("10 % above 1 s:"), "{}", refusal(disorder));
        }
        let many: Vec<_> = (0..65).map(|n| (1e-5 * 1.2_f64.powi(n)).to_string()).collect();
        assert!(
            refusal(&many.join(",")).contains("65 edges are more than 64"),
            "{}",
            refusal(&many.join(","))
        );
    }
}
