//! Counting what escapes, and saying so, rarely.

use aya_ebpf::{EbpfContext, helpers::bpf_ktime_get_ns};
use aya_log_ebpf::warn;
use probe_common::reason::Reason;

use crate::maps::{COMPLAINTS, UNMEASURED};

/// At most one message a reason in this time, in nanoseconds: a flood of packets must not become one of messages.
const SILENCE: u64 = 10_000_000_000;

/// Counts something that escaped.
#[inline(always)]
pub fn count(reason: Reason) {
    if let Some(count) = UNMEASURED.get_ptr_mut(reason as u32) {
        // SAFETY: the map's value, valid for the program's run, of this CPU.
        unsafe { *count += 1 };
    }
}

/// Counts something that escaped, and logs it if the last message of its kind was long ago.
#[inline(never)]
pub fn file(ctx: &impl EbpfContext, reason: Reason, service: u32) {
    count(reason);
    let Some(last) = COMPLAINTS.get_ptr_mut(reason as u32) else {
        return;
    };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the map's value, valid for the program's run. Two CPUs may both find it old: a message twice.
    unsafe {
        if now.wrapping_sub(*last) < SILENCE && *last != 0 {
            return;
        }
        *last = now;
    }
    warn!(ctx, "unmeasured: reason {} service {}", reason as u32, service);
}
