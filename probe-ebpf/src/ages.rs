//! Counts when the requests in flight began: see [`probe_common::ages`].

use probe_common::ages::{self, LEVELS};

use crate::{atomic, maps::AGES};

/// Requests have begun.
#[inline(always)]
pub fn begin(service: u32, started: u64, requests: u32) {
    count_ages(service.into(), started, requests.into());
}

/// A request is in flight no more.
#[inline(always)]
pub fn end(service: u32, started: u64) {
    count_ages(service.into(), started, 1_u64.wrapping_neg());
}

/// Adds to what is in flight. A global function (kernel 5.6): the verifier follows it once, with any arguments, and not once for
/// each state of its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_ages(service: u64, started: u64, requests: u64) -> u64 {
    let Some(ages) = AGES.get_ptr_mut(service as u32) else { return 0 };
    let words = ages.cast::<u64>();
    // With each number of a level in its place: there is no state of a loop for the verifier to follow.
    macro_rules! levels {
        ($($level:literal)+) => {
            const _: () = assert!([$($level),+].len() == LEVELS);
            $({
                let (word, one) = ages::place($level, started);
                // SAFETY: within the map's value, valid for the program's run, aligned to 8 bytes.
                unsafe { atomic::add(words.add(word), one.wrapping_mul(requests)) };
            })+
        };
    }
    levels!(0 1 2 3 4 5 6 7);
    0
}
