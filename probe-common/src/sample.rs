//! Which clients are kept once the table of clients is full: a sample, whose members count for the others too.
//!
//! A client without room enters the sample with a probability of one in 2^level, which a hash of its address decides, and
//! then counts for 2^level clients until it leaves. The level rises as the sample fills, and falls as it empties. A member
//! keeps the level at which it came, and takes a lower one if it comes again under that. So a client's chance to be a
//! member, times what a member counts for, is always 1: the sum over members is right on average, whatever the level does
//! meanwhile (this is the Horvitz-Thompson estimator). The level decides only how far a single estimate may be off, and how
//! much room it takes.
//!
//! Members that leave are taken out one by one. Nobody has to look at the clients that are still there.

use crate::user::Client;

/// Members of the sample, of all services together.
pub const ROOM: u32 = 32_768;

/// Members of a service that are admitted without a choice: until then its number of users is exact.
const EXACT: u64 = 2048;

/// For so many members beyond these the level rises by one. While clients come and none leaves, the standard error is at most
/// 0.612 / sqrt(`STEP`) = 1.9 %, whatever their number. Where as many leave as come, it is smaller.
const STEP: u64 = 1024;

/// With more members than this, of all services together, all levels rise, so that the sample does not fill up.
const CROWDED: u64 = ROOM as u64 / 4 * 3;

/// For so many members beyond these they rise by one.
const CROWDED_STEP: u64 = ROOM as u64 / 64;

/// A service with fewer members keeps its level even then: a flood elsewhere does not hide a small service's users.
const SPARED: u64 = 64;

/// No level is higher: all IPv4 addresses there are have two members at it.
const HIGHEST_LEVEL: u64 = 31;

/// A client in the sample.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampledClient {
    /// As in the table of clients.
    pub client: Client,
    /// The lowest level at which it came: see [`Self::weight`].
    pub level: u64,
}

impl SampledClient {
    /// How many clients it counts for.
    #[inline(always)]
    #[must_use]
    pub const fn weight(&self) -> u64 {
        1 << (self.level & 63)
    }
}

/// The level for a service's next client, by how many members the service has, and how many all services have. Both may be
/// off by what other CPUs add at the moment: any level gives the right average.
#[inline(always)]
#[must_use]
pub const fn level(of_service: u64, of_all: u64) -> u64 {
    let mut level = of_service.saturating_sub(EXACT).div_ceil(STEP);
    if of_service >= SPARED {
        level += of_all.saturating_sub(CROWDED).div_ceil(CROWDED_STEP);
    }
    if level > HIGHEST_LEVEL { HIGHEST_LEVEL } else { level }
}

/// Whether an address is one of those that are members at this level: one in 2^level is. The seed is a secret, so that nobody
/// can send from members' addresses alone, each of which would count for many.
#[inline(always)]
#[must_use]
pub fn is_member(address: &[u8; 16], seed: u64, level: u64) -> bool {
    hash(address, seed) & ((1 << (level & 63)) - 1) == 0
}

/// 64 bits of an address, each of them depending on each of its bits (the finalizer of `MurmurHash3`, twice).
#[inline(always)]
fn hash(address: &[u8; 16], seed: u64) -> u64 {
    let (words, _) = address.as_chunks::<8>();
    let [low, high] = [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])];
    mix(mix(high ^ seed).wrapping_add(low) ^ seed)
}

#[inline(always)]
const fn mix(value: u64) -> u64 {
    let mut value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_rises_with_a_services_members() {
        let alone = |members| level(members, members);
        assert_eq!([0, 2048, 2049, 3072, 3073, 4097].map(alone), [0, 0, 1, 1, 2, 3]);
        // At level 22 the members stand for all IPv4 addresses there are: no flood of one service crowds the others.
        const { assert!(EXACT + 22 * STEP <= CROWDED) };
    }

    #[test]
    fn a_crowded_sample_raises_the_level_of_all_but_small_services() {
        assert_eq!(level(100, CROWDED), 0);
        assert_eq!(level(100, CROWDED + 1), 1);
        assert_eq!(level(3000, CROWDED + 513), 1 + 2);
        assert_eq!(level(SPARED - 1, u64::from(ROOM)), 0);
        assert_eq!(level(SPARED, u64::from(ROOM)), 16);
        assert_eq!(level(u64::MAX, u64::MAX), HIGHEST_LEVEL);
    }

    /// Else a member that comes again under a lower level would not be one of that.
    #[test]
    fn a_member_of_a_level_is_one_of_every_lower_level() {
        let mut members = [0_u32; 8];
        for number in 0..100_000_u32 {
            let mut address = [0; 16];
            address[12..].copy_from_slice(&number.to_be_bytes());
            let last = (0..8).rfind(|level| is_member(&address, 7, *level)).expect("all are, at level 0");
            for level in 0..=last {
                assert!(is_member(&address, 7, level));
                members[level as usize] += 1;
            }
        }
        for (level, count) in members.into_iter().enumerate() {
            let expected = f64::from(100_000 >> level);
            let off = (f64::from(count) - expected).abs();
            assert!(off < 4.0 * expected.sqrt() + 1.0, "{count} members at level {level}");
        }
    }
}
