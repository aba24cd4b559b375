//! Counting what escapes, and saying so, rarely.

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_ns};
use aya_log_ebpf::warn;
use probe_common::reason::Reason;

use crate::{
    atomic,
    maps::{COMPLAINTS, UNMEASURED},
};

/// At most one message a reason in this time, in nanoseconds: a flood of packets must not become one of messages.
const SILENCE: u64 = 10_000_000_000;

/// Counts something that escaped.
#[inline(always)]
pub fn count(reason: Reason) {
    count_many(reason, 1);
}

/// Counts several things that escaped for the same reason.
#[inline(always)]
pub fn count_many(reason: Reason, times: u64) {
    add(reason as u32, times);
}

/// Counts something that escaped, by the reason's number.
#[inline(always)]
pub fn count_number(reason: u32) {
    add(reason, 1);
}

#[inline(always)]
fn add(reason: u32, times: u64) {
    if let Some(count) = UNMEASURED.get_ptr_mut(reason) {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes. Atomically: a run in a softirq may
        // interrupt one in process context.
        unsafe { atomic::add(count, times) };
    }
}

/// Counts something that escaped, and says so if the last message of its kind was long ago.
#[inline(always)]
pub fn file(ctx: &impl EbpfContext, reason: Reason, service: u32) {
    count(reason);
    say(ctx, reason as u32, service);
}

/// Says that something has escaped, unless that was said lately. The agent puts it into words.
#[inline(never)]
pub fn say(ctx: &impl EbpfContext, reason: u32, service: u32) {
    let Some(last) = COMPLAINTS.get_ptr_mut(reason) else { return };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the map's value, valid for the program's run. Two CPUs may both find it old: a message twice.
    unsafe {
        if now.wrapping_sub(*last) < SILENCE && *last != 0 {
            return;
        }
        *last = now;
    }
    warn!(ctx, "{} {}", reason, service);
}
