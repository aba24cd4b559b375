//! Native histograms, with the kernel's buckets as they are.
//!
//! Prometheus' bucket `i` of schema 3 has the upper edge 2^(i/8) s, and the kernel's bucket `b` 2^(b/8) units of 2^-30 s: so `i` is
//! `b` - 240. The kernel's first bucket has no lower edge, and so is Prometheus' bucket of zeros, which reaches as far.

use probe_common::bucket::{PER_DOUBLING, SCHEMA, UNIT_EXPONENT};

use super::wire::{self, int, length_of, message, real, varint, zigzag};
use crate::histogram::{Histogram, upper_edge};

/// Fields of `Histogram`.
const SCHEMA_FIELD: u32 = 5;
const ZERO_THRESHOLD: u32 = 6;
const ZERO_COUNT: u32 = 7;
const POSITIVE_SPAN: u32 = 12;
const POSITIVE_DELTA: u32 = 13;

/// Fields of `BucketSpan`.
const OFFSET: u32 = 1;
const LENGTH: u32 = 2;

/// Prometheus' index of the kernel's bucket of zero and what is next to it.
const INDEX_OF_FIRST: i64 = UNIT_EXPONENT as i64 * PER_DOUBLING as i64;

/// Buckets that follow each other.
struct Span {
    /// The index of the first.
    begin: i64,
    length: u64,
}

/// Writes the fields of a native histogram.
pub(super) fn write(to: &mut Vec<u8>, histogram: &Histogram) {
    int(to, SCHEMA_FIELD, zigzag(i64::from(SCHEMA)));
    real(to, ZERO_THRESHOLD, upper_edge(0));
    let zeros = histogram.buckets.first().filter(|(bucket, _)| *bucket == 0).map_or(0, |(_, count)| *count);
    int(to, ZERO_COUNT, zeros);
    let positive = || histogram.buckets.iter().filter(|(bucket, _)| *bucket > 0);
    let mut end = 0;
    for span in spans(positive().map(|(bucket, _)| i64::from(*bucket) + INDEX_OF_FIRST)) {
        let offset = zigzag(span.begin - end);
        wire::head(to, POSITIVE_SPAN, 1 + length_of(offset) + 1 + length_of(span.length));
        int(to, OFFSET, offset);
        int(to, LENGTH, span.length);
        end = span.begin + span.length.cast_signed();
    }
    let (mut deltas, mut before) = (Vec::new(), 0);
    for (_, count) in positive() {
        let count = count.cast_signed();
        varint(&mut deltas, zigzag(count - before));
        before = count;
    }
    if !deltas.is_empty() {
        message(to, POSITIVE_DELTA, &deltas);
    }
}

/// Indices that grow, as runs.
fn spans(indices: impl Iterator<Item = i64>) -> impl Iterator<Item = Span> {
    let mut indices = indices.peekable();
    std::iter::from_fn(move || {
        let mut span = Span { begin: indices.next()?, length: 1 };
        while indices.next_if(|index| *index == span.begin + span.length.cast_signed()).is_some() {
            span.length += 1;
        }
        Some(span)
    })
}
