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

/// `floor(2^63 * 2^(i/8))` for `i` in 1..=7: the upper edges of the buckets within a doubling, as mantissas.
const EDGES: [u64; 7] = [
    0x8b95_c1e3_ea8b_d6e6,
    0x9837_f051_8db8_a96f,
    0xa5fe_d6a9_b151_38ea,
    0xb504_f333_f9de_6484,
    0xc567_2a11_5506_dadd,
    0xd744_fcca_d69d_6af4,
    0xeac0_c6e7_dd24_392e,
];

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
    let leading = units.leading_zeros();
    let mantissa = units << (leading & 63);
    let mut within = 0;
    // The first edge is the power of two itself, which closes the bucket below it.
    within += u16::from(mantissa > 1 << 63);
    within += u16::from(mantissa > EDGES[0]);
    within += u16::from(mantissa > EDGES[1]);
    within += u16::from(mantissa > EDGES[2]);
    within += u16::from(mantissa > EDGES[3]);
    within += u16::from(mantissa > EDGES[4]);
    within += u16::from(mantissa > EDGES[5]);
    within += u16::from(mantissa > EDGES[6]);
    let bucket = (63 - leading as u16) * PER_DOUBLING + within;
    if bucket > LAST { LAST } else { bucket }
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
