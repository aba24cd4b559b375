//! Counts when the requests in flight began: see [`probe_common::ages`].

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use probe_common::ages::Change;

use crate::{
    atomic,
    maps::{AGES, OLD_AGES},
};

/// How often to try to count something that others are counting in the same slot. A CPU fails only where another succeeds, and
/// each has one request to count there, and what it moves: far more than there are CPUs.
const TRIES: u32 = 100_000;

/// Requests have begun.
#[inline(always)]
pub fn begin(service: u32, started: u64, requests: u32) {
    count(service, Change { started, requests: requests.cast_signed(), level: 0 });
}

/// A request is in flight no more.
#[inline(always)]
pub fn end(service: u32, started: u64) {
    count(service, Change { started, requests: -1, level: 0 });
}

/// Nearly all requests begin and end within a turn of their slot.
#[inline(always)]
fn count(service: u32, change: Change) {
    let Some(young) = AGES.get_ptr_mut(service) else { return };
    // SAFETY: within the map's value, valid for the program's run, aligned to 8 bytes.
    let place = unsafe { young.cast::<u64>().add(change.young()) };
    // SAFETY: as above. Volatile, because a run that interrupts this one writes it.
    let found = unsafe { place.read_volatile() };
    // SAFETY: as above.
    if change.is_in_turn(found) && unsafe { atomic::replace(place, found, change.added_to(found)) } == found {
        return;
    }
    count_across_turns(service.into(), change.started, change.requests.cast_unsigned().into());
}

/// Counts in a slot of another turn. A global function (kernel 5.6): the verifier follows it once, with any arguments, and not
/// once for each state of its callers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_across_turns(service: u64, started: u64, requests: u64) -> u64 {
    let mut counting =
        Counting { service, change: Change { started, requests: (requests as u32).cast_signed(), level: 0 } };
    // SAFETY: a function of the signature that the helper wants, and a context that outlives the call (kernel 5.17).
    unsafe { bpf_loop(TRIES, attempt as *mut c_void, (&raw mut counting).cast(), 0) };
    0
}

#[repr(C)]
struct Counting {
    service: u64,
    change: Change,
}

/// Tries to count on one level: 0 to go on, 1 to stop.
extern "C" fn attempt(_index: u64, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's `Counting`.
    let Counting { service, change } = unsafe { &mut *context.cast::<Counting>() };
    let service = *service as u32;
    let place = if change.level == 0 {
        let Some(young) = AGES.get_ptr_mut(service) else { return 1 };
        // SAFETY: within the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe { young.cast::<u64>().add(change.young()) }
    } else {
        let Some(old) = OLD_AGES.get_ptr_mut(service) else { return 1 };
        // SAFETY: as above.
        unsafe { old.cast::<u64>().add(change.old()) }
    };
    // SAFETY: as above. Volatile, because other CPUs write it.
    let found = unsafe { place.read_volatile() };
    let step = change.step(found);
    // SAFETY: as above.
    if unsafe { atomic::replace(place, found, step.slot) } != found {
        return 0;
    }
    *change = step.next;
    i64::from(change.requests == 0)
}
