//! Buffers for packets' bytes, too large for the stack.
//!
//! A program that runs in process context can be interrupted, on the same CPU, by one in a softirq, and that by none:
//! so a run takes a slot that is free. On a fully preemptible kernel a task may be preempted between the look at a
//! slot and the claim of it; the claim then shows to have been lost when it is given back.

use probe_common::{
    exchange::Exchange,
    route::{RouteKey, Template},
    user::ClientKey,
    window::Window,
};

use crate::maps::SCRATCH;

/// Runs that can be under way at once on a CPU.
pub const SLOTS: u32 = 4;

/// The packet that is being read.
#[repr(C)]
pub struct Task {
    /// Its time, in nanoseconds of the monotonic clock.
    pub now: u64,
    /// Offset of the payload in it.
    pub offset: u32,
    /// Sequence number of the first byte of payload.
    pub sequence: u32,
    /// Bytes of payload.
    pub length: u32,
    /// 1 if the direction ends behind it.
    pub fin: u32,
    /// One more than the last [`probe_common::reason::Reason`] for which something in it escaped; 0 if nothing did.
    pub escaped: u32,
    /// Requests that began in it.
    pub began: u32,
    /// Requests that are in flight no more since.
    pub ended: u32,
    /// 1 while the template of a request's path is being made.
    pub template: u32,
    /// 1 if the client of the connection was told by its requests before it was read.
    pub spoken_for: u32,
    /// 1 if a request's head has named its client: see [`Scratch::client`].
    pub asked: u32,
    /// 1 if its connection is yet to come: what escapes is counted with that.
    pub early: u32,
}

/// What a step came to: see [`probe_common::connection::Step`].
#[repr(C)]
pub struct Flags {
    /// Whether there is an exchange.
    pub exchange: u8,
    /// Whether there is more in the segment.
    pub more: u8,
    /// Whether a request has begun.
    pub began: u8,
    /// Whether a request is in flight no more.
    pub ended: u8,
    /// One more than the reason for which something escaped; 0 if nothing did.
    pub escaped: u32,
}

/// A buffer, and whether it is in use.
#[repr(C)]
pub struct Scratch {
    busy: u64,
    /// What is being read.
    pub task: Task,
    /// What the latest step came to.
    pub step: Flags,
    /// The request that has come to its end with it, if one has.
    pub exchange: Exchange,
    /// Whom a request is from, where a proxy says so.
    pub client: ClientKey,
    /// The buffer.
    pub window: Window,
    /// The template of the latest request's path.
    pub template: Template,
    /// The same as a key.
    pub route: RouteKey,
}

/// Takes a free slot of this CPU. It must be given back.
#[inline(always)]
pub fn take() -> Option<*mut Scratch> {
    for slot in 0..SLOTS {
        let scratch = SCRATCH.get_ptr_mut(slot)?;
        // SAFETY: the map's value, valid for the program's run, of this CPU.
        unsafe {
            if (*scratch).busy == 0 {
                (*scratch).busy = 1;
                (*scratch).window.clear();
                return Some(scratch);
            }
        }
    }
    None
}

/// Gives a slot back.
#[inline(always)]
pub fn give_back(scratch: *mut Scratch) {
    // SAFETY: as in `take`, from which the pointer comes.
    unsafe { (*scratch).busy = 0 };
}
