//! How long the requests in flight have waited: counted by when they began, so that nobody has to look at sockets.
//!
//! A request adds one when it begins and takes it away when it ends, at each of several levels, in the slot that its first byte's
//! time falls into. What is left of a slot, over all CPUs, is in flight, and the oldest slot with something left says how old the
//! oldest request is. The slots of a level are a ring, each four times as wide as those of the level below: a level tells ages
//! up to [`SLOTS`] of its slots, and the one below tells those of less than a quarter of that better. So many slots are just
//! enough for an eighth of the age.

/// Levels.
pub const LEVELS: usize = 8;

/// Slots of a level.
pub const SLOTS: u64 = 20;

/// The width of the finest slots, in bits of nanoseconds: 16.8 ms.
const FINEST: u32 = 24;

/// Bits by which the slots of a level are wider than those of the one below.
const WIDER: u32 = 2;

/// Slots in a word.
const LANES: u64 = 4;
/// Bits of a slot.
const LANE: u32 = 16;
/// Words of a level.
const WORDS: usize = (SLOTS / LANES) as usize;

/// How many requests of a service may be in flight for the oldest to be told: what a slot holds.
pub const MOST_IN_FLIGHT: u64 = 1 << (LANE - 1);

/// The age beyond which no level has slots, and a request looks as if it had just begun: 1 h 31 min.
pub const REACH: u64 = SLOTS << (FINEST + WIDER * (LEVELS as u32 - 1));

/// Words of all levels, and a few that the verifier takes for possible.
const ROOM: usize = (LEVELS - 1) * WORDS + MASK as usize + 1;

/// What a CPU counted of a service.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Of each level, four slots a word, each the requests that began in it less those that ended: negative where others
    /// ended them. Only the sum over all CPUs means something.
    pub words: [u64; ROOM],
}

impl Default for Ages {
    fn default() -> Self {
        Self { words: [0; ROOM] }
    }
}

/// Where a request that began at that time is counted on a level: the word, and what one request is in it.
#[inline(always)]
#[must_use]
pub const fn place(level: usize, started: u64) -> (usize, u64) {
    let slot = started >> width(level);
    (level * WORDS + word_of(slot), 1 << (LANE * (slot % LANES) as u32))
}

/// Which of its level's words a slot is in: a remainder by multiplication, since a processor divides for longer than all else
/// takes here. Once the time has more bits than these the ring goes on elsewhere, every two years and a quarter at the finest
/// level: a request is counted down where it was counted up.
#[inline(always)]
const fn word_of(slot: u64) -> usize {
    const BITS: u32 = 32;
    const RECIPROCAL: u64 = (1 << (BITS + 2)) / WORDS as u64 + 1;
    let number = (slot & ((1 << BITS) - 1)) / LANES;
    // The mask changes nothing: without it the verifier does not see how small a remainder is.
    let quotient = (number * RECIPROCAL) >> (BITS + 2);
    ((number - quotient * WORDS as u64) & MASK) as usize
}

/// What a word's number of a level has bits for.
const MASK: u64 = WORDS.next_power_of_two() as u64 - 1;

/// The width of a level's slots, in bits of nanoseconds.
#[inline(always)]
const fn width(level: usize) -> u32 {
    FINEST + WIDER * level as u32
}

impl Ages {
    /// Adds what another CPU counted.
    pub fn add(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(other.words) {
            *word = word.wrapping_add(other);
        }
    }

    /// Counts requests that began at a time, or, with a negative number, that ended.
    pub fn count(&mut self, started: u64, requests: i16) {
        for level in 0..LEVELS {
            let (word, one) = place(level, started);
            let change = one.wrapping_mul(i64::from(requests).cast_unsigned());
            self.words[word] = self.words[word].wrapping_add(change);
        }
    }

    /// When the oldest request began, in nanoseconds, of the sum over all CPUs; none if none is in flight.
    ///
    /// Off by at most half a slot, and by at most an eighth of its age if that is 0.1 s or more and less than [`REACH`]. The CPUs
    /// are read one after the other: a request that begins or ends meanwhile may be seen, or not.
    #[must_use]
    pub fn oldest(&self, now: u64) -> Option<u64> {
        let mut found = None;
        for level in (0..LEVELS).rev() {
            let Some(back) = self.oldest_slot(level, now) else { continue };
            let slot = (now >> width(level)).wrapping_sub(back);
            let from = slot << width(level);
            let to = now.min(from + (1 << width(level)));
            found = Some(from + to.saturating_sub(from) / 2);
            // Fewer slots than these are all slots of the level below, which knows better.
            if back >= SLOTS >> WIDER {
                break;
            }
        }
        found
    }

    /// How many slots of a level the oldest one with something in it lies back.
    fn oldest_slot(&self, level: usize, now: u64) -> Option<u64> {
        let current = now >> width(level);
        (0..SLOTS.min(current + 1)).rev().find(|back| self.in_slot(level, current - back) > 0)
    }

    /// How many requests are in flight of those that began in a slot.
    fn in_slot(&self, level: usize, slot: u64) -> i16 {
        let mut word = self.words[level * WORDS + word_of(slot)];
        // What is negative below, from a request that began on a CPU that was read before it did, has borrowed from those above.
        for _ in 0..slot % LANES {
            word = word.wrapping_sub(i64::from(word as i16).cast_unsigned()) >> LANE;
        }
        word as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn with(requests: &[(u64, i16)]) -> Ages {
        let mut ages = Ages::default();
        for (started, count) in requests {
            ages.count(*started, *count);
        }
        ages
    }

    #[track_caller]
    fn assert_age(ages: &Ages, now: u64, age: u64) {
        let found = now - ages.oldest(now).expect("something is in flight");
        let error = found.abs_diff(age);
        assert!(error * 8 <= age, "{found} ns instead of {age}, at {now}");
    }

    #[test]
    fn any_age_is_right_to_an_eighth() {
        let mut age = SECOND / 10;
        let mut seed = 1_u64;
        while age < REACH - REACH / 20 {
            for _ in 0..200 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let started = 10 * REACH + seed % REACH;
                let younger = (started + age - age / 3, 40);
                assert_age(&with(&[(started, 1), younger, (started + age, 7)]), started + age, age);
            }
            age += age / 9;
        }
    }

    #[test]
    fn slots_take_turns() {
        for slot in [0, 1, 19, 20, 12_345_678, (1 << 32) - 21] {
            for ahead in 0..SLOTS {
                assert_eq!(word_of(slot + ahead) as u64, (slot + ahead) / LANES % WORDS as u64);
            }
        }
        // A word of its level for any number.
        assert!((0..10_000).all(|slot| word_of(u64::MAX - slot) < WORDS));
    }

    #[test]
    fn what_has_ended_is_not_in_flight() {
        let now = 50 * SECOND;
        let ages = with(&[(now - 9 * SECOND, 3), (now - SECOND, 2), (now - 9 * SECOND, -3)]);
        assert_age(&ages, now, SECOND);
        assert_eq!(with(&[(now, 3), (now, -3)]).oldest(now), None);
        assert_eq!(Ages::default().oldest(now), None);
    }

    #[test]
    fn cpus_are_added_whichever_of_them_saw_the_end() {
        let now = 50 * SECOND;
        let mut sum = with(&[(now - 20 * SECOND, 5), (now - 2 * SECOND, 1)]);
        sum.add(&with(&[(now - 20 * SECOND, -5)]));
        assert_age(&sum, now, 2 * SECOND);
    }

    #[test]
    fn an_end_that_is_seen_without_its_beginning_is_nothing_older() {
        for slot in 0..SLOTS {
            let now = (1000 + slot) << FINEST;
            assert_eq!(with(&[(now, -2)]).oldest(now), None, "slot {slot}");
            assert_age(&with(&[(now, -2), (now - SECOND, 1)]), now, SECOND);
        }
    }

    #[test]
    fn as_many_as_can_be_told_are_told() {
        let now = 500 * SECOND;
        let most = i16::try_from(MOST_IN_FLIGHT - 1).unwrap();
        assert_age(&with(&[(now - 400 * SECOND, most)]), now, 400 * SECOND);
    }

    #[test]
    fn a_machine_that_has_just_started_has_no_slots_before_that() {
        assert_eq!(with(&[(SECOND, 1)]).oldest(SECOND), Some(SECOND - (SECOND % (1 << FINEST)).div_ceil(2)));
    }
}
