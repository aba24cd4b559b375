//! The clocks of capture files: to nanoseconds since 1970.

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// How an interface of a pcapng file counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    resolution: u8,
    offset: i64,
}

impl Clock {
    /// From the options `if_tsresol` and `if_tsoffset` of an interface.
    pub(super) const fn new(resolution: u8, offset: i64) -> Self {
        Self { resolution, offset }
    }

    /// A timestamp in nanoseconds since 1970. One that is out of range becomes the nearest that is in it.
    pub(super) fn nanoseconds(self, ticks: u64) -> u64 {
        let exponent = u32::from(self.resolution & 0x7f);
        let ticks = i128::from(ticks);
        let since = if self.resolution & 0x80 != 0 {
            // 94 bits, so that the product is below the sign; 2^-94 s and less is nothing.
            (ticks * SECOND) >> exponent.min(126)
        } else if exponent <= 9 {
            ticks * 10_i128.pow(9 - exponent)
        } else {
            10_i128.checked_pow(exponent - 9).map_or(0, |divisor| ticks / divisor)
        };
        saturate(since + i128::from(self.offset) * SECOND)
    }
}

/// A timestamp of a pcap file: seconds, and a fraction of which there are so many to a second.
pub(super) fn of_pcap(seconds: u32, fraction: u32, per_second: u32) -> u64 {
    let fraction = u64::from(fraction) * (1_000_000_000 / u64::from(per_second.max(1)));
    u64::from(seconds) * 1_000_000_000 + fraction
}

fn saturate(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_powers_of_ten_or_of_two() {
        let seconds = |resolution, ticks| Clock::new(resolution, 0).nanoseconds(ticks);
        assert_eq!(seconds(6, 1_500_000), 1_500_000_000);
        assert_eq!(seconds(9, 1_500_000_000), 1_500_000_000);
        assert_eq!(seconds(0, 3), 3_000_000_000);
        assert_eq!(seconds(12, 1_500_000_000_000), 1_500_000_000);
        assert_eq!(seconds(0x94, 3 << 19), 1_500_000_000);
    }

    #[test]
    fn an_offset_moves_the_clock() {
        assert_eq!(Clock::new(6, 100).nanoseconds(1), 100_000_001_000);
        assert_eq!(Clock::new(0, -2).nanoseconds(3), 1_000_000_000);
    }

    #[test]
    fn what_is_out_of_range_saturates() {
        for resolution in 0..=u8::MAX {
            for offset in [i64::MIN, -1, 0, 1, i64::MAX] {
                for ticks in [0, 1, u64::MAX] {
                    Clock::new(resolution, offset).nanoseconds(ticks);
                }
            }
        }
        assert_eq!(Clock::new(0, 0).nanoseconds(u64::MAX), u64::MAX);
        assert_eq!(Clock::new(6, -1).nanoseconds(0), 0);
        assert_eq!(of_pcap(u32::MAX, u32::MAX, 1_000_000), 4_294_967_295_000_000_000 + 4_294_967_295_000);
    }
}
