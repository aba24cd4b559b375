//! How long the requests in flight have waited: counted by when they began, so that nobody has to look at sockets.
//!
//! A request adds one when it begins and takes it away when it ends, in the slot of time that its first byte falls into. What is
//! left of a slot, over all CPUs, is in flight, and the oldest slot with something left gives the age of the oldest request.
//!
//! A level has few slots, and uses each again for a later time: its next turn. The first to count something in a turn
//! moves what is left of the one before to the level above, where slots are four times as wide. A request that ends when its slot
//! is in a later turn is taken away on the level above, too. So a request is counted in one place, however long it waits.
//!
//! The lowest level is counted by each CPU for itself. Few requests wait long enough for those above: all CPUs share them.

/// Levels that have slots.
pub const LEVELS: u32 = 8;

/// Slots of a level. With sixteen, and slots four times as wide on the next level, a request's age is at least 3.75 slots of its
/// level once it has left the lowest: enough for an eighth of the age.
pub const SLOTS: u64 = 16;

/// The width of the finest slots, in bits of nanoseconds: 16.8 ms.
const FINEST: u32 = 24;

/// Bits by which the slots of a level are wider than those of the one below.
const WIDER: u32 = 2;

/// Bits of a slot's number that say which of its level's it is. The rest is its turn.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

/// The age beyond which there are no slots: 1 h 13 min.
pub const REACH: u64 = SLOTS << width(LEVELS - 1);

/// Where a slot has its count; below is its turn. What the count overflows by is lost, and does not disturb the turn.
const COUNT_AT: u32 = 32;

/// What each CPU counts of a service: the lowest level.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Young {
    /// Of each slot, in the lower half the turn, in the upper half the requests that began in it less those that ended:
    /// negative where another CPU saw them begin. Only the sum over all CPUs means something.
    pub slots: [u64; SLOTS as usize],
}

/// What all CPUs count of a service together: the levels above.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old {
    /// The slots of each level, one level behind the other. The first behind the top level counts those that began before all
    /// slots; the others are not used, and give the verifier a number of slots that a mask can hold an index to.
    pub slots: [u64; OLD_SLOTS],
}

/// Slots above the lowest level, and those of a level more.
const OLD_SLOTS: usize = LEVELS as usize * SLOTS as usize;

impl Default for Old {
    fn default() -> Self {
        Self { slots: [0; OLD_SLOTS] }
    }
}

/// What is to be counted, and where.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the requests began.
    pub started: u64,
    /// How many have begun: negative if they have ended.
    pub requests: i32,
    /// On which level.
    pub level: u32,
}

/// What counting does to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to put there, if that is what was read.
    pub slot: u64,
    /// What is to be counted after that; no requests if nothing is.
    pub next: Change,
}

impl Change {
    /// Which of [`Young`]'s slots, if the level is the lowest.
    #[inline(always)]
    #[must_use]
    pub const fn young(&self) -> usize {
        (self.number() % SLOTS) as usize
    }

    /// Which of [`Old`]'s slots, if the level is another.
    #[inline(always)]
    #[must_use]
    pub const fn old(&self) -> usize {
        if self.level >= LEVELS {
            return OLD_SLOTS - SLOTS as usize;
        }
        let slot = self.level.wrapping_sub(1) as u64 * SLOTS + self.number() % SLOTS;
        // The mask changes nothing: it is for the verifier.
        (slot % OLD_SLOTS as u64) as usize
    }

    /// Whether the slot is in the turn that this belongs to.
    #[inline(always)]
    #[must_use]
    pub const fn is_in_turn(&self, slot: u64) -> bool {
        slot as u32 == self.turn()
    }

    /// The slot with this counted, if it is in its turn.
    #[inline(always)]
    #[must_use]
    pub const fn added_to(&self, slot: u64) -> u64 {
        slot.wrapping_add((self.requests.cast_unsigned() as u64) << COUNT_AT)
    }

    /// Counts it in a slot, whatever turn that is in.
    #[inline(always)]
    #[must_use]
    pub const fn step(&self, slot: u64) -> Step {
        let done = Change { started: self.started, requests: 0, level: self.level };
        if self.level >= LEVELS || self.is_in_turn(slot) {
            return Step { slot: self.added_to(slot), next: done };
        }
        if self.turn().wrapping_sub(slot as u32).cast_signed() < 0 {
            return Step { slot, next: Change { level: self.level + 1, ..*self } };
        }
        let number = ((slot as u32 as u64) << SLOT_BITS) | (self.number() % SLOTS);
        let left = Change {
            started: number << width(self.level),
            requests: (slot >> COUNT_AT) as i32,
            level: self.level + 1,
        };
        Step { slot: self.added_to(self.turn() as u64), next: left }
    }

    /// The number of its slot, counted from the beginning of time.
    #[inline(always)]
    const fn number(&self) -> u64 {
        self.started >> width(self.level)
    }

    /// Turns have 32 bits: 36 years of the finest slots.
    #[inline(always)]
    const fn turn(&self) -> u32 {
        (self.number() >> SLOT_BITS) as u32
    }
}

/// The width of a level's slots, in bits of nanoseconds.
#[inline(always)]
const fn width(level: u32) -> u32 {
    FINEST + WIDER * level
}

/// When the oldest request of a service began, in nanoseconds, by what each CPU and all together counted; none if none is in
/// flight. One that began before [`REACH`] is told as if it had begun then.
///
/// Off by at most half a slot, and by at most an eighth of its age if that is 0.1 s or more. `now` is a time behind the reading. The
/// CPUs are read one after the other: a request that begins or ends meanwhile may be seen, or not.
#[must_use]
pub fn oldest(young: &[Young], old: &Old, now: u64) -> Option<u64> {
    let mut sums = Sums { now, levels: [[0; SLOTS as usize]; LEVELS as usize], beyond: 0 };
    for level in 1..LEVELS {
        let first = (level - 1) as usize * SLOTS as usize;
        sums.add_level(level, &old.slots[first..first + SLOTS as usize]);
    }
    sums.beyond += count_of(old.slots[OLD_SLOTS - SLOTS as usize]);
    for cpu in young {
        sums.add_level(0, &cpu.slots);
    }
    sums.oldest()
}

const fn count_of(slot: u64) -> i64 {
    (slot >> COUNT_AT) as i32 as i64
}

/// What is in flight by age.
struct Sums {
    now: u64,
    /// Of each level, by how many slots before the present one.
    levels: [[i64; SLOTS as usize]; LEVELS as usize],
    beyond: i64,
}

impl Sums {
    fn add_level(&mut self, level: u32, slots: &[u64]) {
        for (index, slot) in slots.iter().enumerate() {
            if count_of(*slot) != 0 {
                let number = (u64::from(*slot as u32) << SLOT_BITS) | index as u64;
                self.add(level, number << width(level), count_of(*slot));
            }
        }
    }

    /// Adds it on the level that its age belongs to now: a slot that nobody has counted in for a turn still has what the level
    /// above has from other CPUs.
    fn add(&mut self, level: u32, started: u64, requests: i64) {
        for level in level..LEVELS {
            let back = (self.now >> width(level)).saturating_sub(started >> width(level));
            if back < SLOTS {
                self.levels[level as usize][back as usize] += requests;
                return;
            }
        }
        self.beyond += requests;
    }

    fn oldest(&self) -> Option<u64> {
        if self.beyond > 0 {
            return Some(self.now.saturating_sub(REACH));
        }
        let find = |level: u32| self.levels[level as usize].iter().rposition(|requests| *requests > 0);
        (0..LEVELS).rev().find_map(|level| Some(self.began(level, find(level)? as u64)))
    }

    /// When a request began, as far as its slot shows.
    fn began(&self, level: u32, back: u64) -> u64 {
        let start = ((self.now >> width(level)) - back) << width(level);
        let end = self.now.min(start + (1 << width(level)));
        let (longest, shortest) = (self.now - start, self.now - end);
        if level == 0 {
            return start + (end - start) / 2;
        }
        // What the level below still has is younger than this.
        let below = width(level - 1);
        let shortest = shortest.max(self.now - (((self.now >> below) + 1 - SLOTS) << below));
        // The age whose error is the same part of either.
        let age = 2 * u128::from(longest) * u128::from(shortest) / u128::from(longest + shortest);
        self.now - u64::try_from(age).unwrap_or(longest)
    }
}

#[cfg(test)]
mod tests;
