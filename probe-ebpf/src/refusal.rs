//! Why a map did not take a new entry.

use probe_common::reason::Reason;

/// -E2BIG
const FULL: i32 = -7;
/// -ENOMEM
const NO_MEMORY: i32 = -12;
/// -EEXIST
const EXISTS: i32 = -17;

/// What became of it.
#[derive(Clone, Copy)]
pub enum Refusal {
    /// The map has as many as it may have, or as there is memory for.
    Full,
    /// Another CPU made the entry in between: it is there now, unless somebody has deleted it since.
    LostRace,
    /// Somebody else was at work at that place of the map: -EBUSY, since 6.15 also -EDEADLK and -ETIMEDOUT.
    Contended,
}

impl Refusal {
    /// After what the helper returned.
    #[inline(always)]
    pub fn of(error: i32) -> Self {
        match error {
            FULL | NO_MEMORY => Self::Full,
            EXISTS => Self::LostRace,
            _ => Self::Contended,
        }
    }

    /// The reason to count it under, where a full map of this kind has one of its own. A race that was lost, and whose winner
    /// has gone, is contention too.
    #[inline(always)]
    pub fn reason(self, full: Reason) -> Reason {
        match self {
            Self::Full => full,
            Self::LostRace | Self::Contended => Reason::Contended,
        }
    }
}
