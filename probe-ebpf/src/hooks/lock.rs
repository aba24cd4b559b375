//! One at a time for what a socket receives.
//!
//! The hook for received packets runs before the kernel takes the socket's lock, and packets of a connection may come on
//! two CPUs at once: on the loopback device wherever the sender moves from one to the other. (What is sent passes its hook
//! under that lock.) The runs wait for each other, in softirqs, which nothing but an interrupt holds up; and none waits for
//! one of its own CPU, since softirqs do not nest.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use probe_common::{connection::Connection, reason::Reason};

use crate::atomic;

/// How often to try, some nanoseconds each: longer than it takes to read a packet full of requests.
const TRIES: u32 = 100_000;

/// Takes the lock. It must be given back.
#[inline(always)]
pub fn take(connection: &mut Connection) -> Result<(), Reason> {
    let lock = &raw mut connection.lock;
    // SAFETY: in the socket's state, aligned to 8 bytes.
    if unsafe { atomic::exchange(lock, 1) } == 0 {
        return Ok(());
    }
    if wait_for(lock) { Ok(()) } else { Err(Reason::Contended) }
}

/// Tries repeatedly. A function of its own, so that what it leaves on its stack is none of the caller's.
#[inline(never)]
fn wait_for(lock: *mut u64) -> bool {
    let mut wait = Wait { lock, taken: 0 };
    // SAFETY: a function of the signature that the helper wants, and a context that outlives the call (kernel 5.17).
    unsafe { bpf_loop(TRIES, attempt as *mut c_void, (&raw mut wait).cast(), 0) };
    wait.taken == 1
}

/// Gives the lock back.
#[inline(always)]
pub fn give_back(connection: &mut Connection) {
    // With an exchange, so that all that was written before is seen first.
    // SAFETY: as in `take`.
    unsafe { atomic::exchange(&raw mut connection.lock, 0) };
}

#[repr(C)]
struct Wait {
    lock: *mut u64,
    taken: u64,
}

/// Tries once: 0 to go on, 1 to stop.
extern "C" fn attempt(_index: u64, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's `Wait`, its pointer that of a socket's state.
    let wait = unsafe { &mut *context.cast::<Wait>() };
    // SAFETY: as above.
    if unsafe { atomic::exchange(wait.lock, 1) } == 0 {
        wait.taken = 1;
        return 1;
    }
    0
}
