//! The arithmetic of the kernel's histograms: exponential buckets with base 2^(1/8).
//!
//! That is schema 3 of Prometheus' native histograms and scale 3 of OTLP's exponential ones. Their boundaries are
//! powers of the base in *seconds*, so nanoseconds are first scaled to units of 2^-30 s; boundaries of nanoseconds
//! would be shifted against them by a fraction of a bucket.

/// Buckets to a doubling, as a power of two: schema 3 of Prometheus, scale 3 of OTLP.
pub const SCHEMA: u32 = 3;

/// Buckets to a doubling.
pub const PER_DOUBLING: u16 = 1 << SCHEMA;

/// Unit of the scaled duration: 2^-30 s, as an exponent.
pub const UNIT_EXPONENT: i32 = -30;

/// The largest bucket: durations of 4,096 s (2^42 units) and more saturate here.
pub const LAST: u16 = 42 * PER_DOUBLING;

/// What 2^30 / 10^9 is above one, in units of 2^-26.
const SCALE: u64 = 4_948_730;

/// An hour and some, in nanoseconds: above it, scaling would overflow 64 bits, so durations saturate.
const SATURATION_NS: u64 = u64::MAX / SCALE;

/// The edges of the buckets within a doubling as mantissas, `floor(2^63 * 2^(i/8))`, and none behind them. The first is the
/// power of two itself, which closes the bucket below it.
const EDGES: [u64; 16] = [
    0x8000_0000_0000_0000,
    0x8b95_c1e3_ea8b_d6e6,
    0x9837_f051_8db8_a96f,
    0xa5fe_d6a9_b151_38ea,
    0xb504_f333_f9de_6484,
    0xc567_2a11_5506_dadd,
    0xd744_fcca_d69d_6af4,
    0xeac0_c6e7_dd24_392e,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
];

/// How many edges lie below each sixteenth of a doubling, four bits for each. None has more than one edge in it.
const BELOW: u64 = {
    let (mut below, mut cell) = (0, 0);
    while cell < 16 {
        let start = 1 << 63 | cell << 59;
        let mut edges = 0;
        while EDGES[edges] < start {
            edges += 1;
        }
        assert!(
            start == 1 << 63 || cell == 15 || EDGES[edges + 1] >= start + (1 << 59),
            "two edges in a cell"
        );
        below |= (edges as u64) << (4 * cell);
        cell += 1;
    }
    below
};

/// Spreads the words of which all bits up to the highest are set over 64 places: a de Bruijn sequence.
const SPREAD: u64 = 0x03f7_9d71_b4cb_0a89;

/// Position of the highest bit by that place.
const HIGHEST: [u8; 64] = {
    let mut highest = [u8::MAX; 64];
    let mut bit = 0_u8;
    while bit < 64 {
        let place = (u64::MAX >> (63 - bit)).wrapping_mul(SPREAD) >> 58;
        assert!(highest[place as usize] == u8::MAX, "two words have one place");
        highest[place as usize] = bit;
        bit += 1;
    }
    highest
};

/// The bucket that holds a duration, in nanoseconds.
///
/// Bucket `b` holds the durations in `(2^(b-1)/8, 2^(b/8)]` units of 2^-30 s: the upper edge belongs to the bucket,
/// as in Prometheus and OTLP.
#[inline(always)]
#[must_use]
pub fn of_nanoseconds(ns: u64) -> u16 {
    if ns > SATURATION_NS {
        return LAST;
    }
    of_units(ns + ((ns * SCALE) >> 26))
}

/// The bucket of a duration in units of 2^-30 s.
#[inline(always)]
fn of_units(units: u64) -> u16 {
    if units <= 1 {
        return 0;
    }
    let highest = highest_bit(units);
    let mantissa = units << ((63 - highest) & 63);
    let below = BELOW >> ((mantissa >> 59 & 15) * 4) & 15;
    // Whether the one edge that may lie in its sixteenth is below it, by the sign of a difference. Halves, to have a sign:
    // the lowest bit of the mantissa is not set, since no duration has so many bits.
    let above = (EDGES[below as usize] >> 1).wrapping_sub(mantissa >> 1) >> 63;
    let bucket = (highest * u64::from(PER_DOUBLING) + below + above) as u16;
    if bucket > LAST { LAST } else { bucket }
}

/// Position of the highest bit of a word that is not zero. BPF has no instruction for it before its newest kernels, and what
/// the compiler makes of `leading_zeros` takes three times as long.
#[inline(always)]
const fn highest_bit(word: u64) -> u64 {
    let word = word | word >> 1;
    let word = word | word >> 2;
    let word = word | word >> 4;
    let word = word | word >> 8;
    let word = word | word >> 16;
    let word = word | word >> 32;
    HIGHEST[(word.wrapping_mul(SPREAD) >> 58) as usize] as u64
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    /// The definition, in floating point.
    #[expect(clippy::cast_sign_loss, reason = "not below zero")]
    fn reference(ns: u64) -> u16 {
        let exponent = (ns as f64 / 1e9).log2() - f64::from(UNIT_EXPONENT);
        (exponent * f64::from(PER_DOUBLING)).ceil().max(0.0) as u16
    }

    #[test]
    fn a_power_of_two_closes_its_bucket() {
        assert_eq!(of_units(1), 0);
        assert_eq!(of_units(2), 8);
        assert_eq!(of_units(3), 13);
        assert_eq!(of_units(1 << 30), 240);
        assert_eq!(of_units((1 << 30) + 1), 241);
        assert_eq!(of_nanoseconds(1_000_000_000), 240);
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(of_nanoseconds(0), 0);
        assert_eq!(of_nanoseconds(u64::MAX), LAST);
        assert_eq!(of_nanoseconds(SATURATION_NS + 1), LAST);
        assert!(of_nanoseconds(SATURATION_NS) <= LAST);
    }

    #[test]
    fn each_edge_closes_its_bucket() {
        for doubling in 8..42_u16 {
            for (i, edge) in EDGES[..8].iter().enumerate() {
                let (units, closed) = (edge >> (63 - doubling), doubling * PER_DOUBLING + i as u16);
                assert_eq!(
                    (of_units(units), of_units(units + 1)),
                    (closed, closed + 1),
                    "2^({doubling}+{i}/8)"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition_from_a_millisecond(ns in 1_000_000_u64..3_600_000_000_000) {
            prop_assert_eq!(of_nanoseconds(ns), reference(ns));
        }

        #[test]
        fn is_off_by_one_at_most_below(ns in 1_000_u64..1_000_000) {
            prop_assert!(of_nanoseconds(ns).abs_diff(reference(ns)) <= 1);
        }

        #[test]
        fn grows_with_the_duration(a: u64, b: u64) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(of_nanoseconds(low) <= of_nanoseconds(high));
        }
    }
}
