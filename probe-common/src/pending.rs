//! The requests of a connection that have not been answered.

use crate::protocol::Method;

/// How many the engine keeps times of: wrk and redis-benchmark pipeline 16.
pub const DEPTH: u32 = 32;

const METHOD_BITS: u32 = 8;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When its first byte came, in nanoseconds of the monotonic clock; 56 bits of it (two years).
    pub started: u64,
    /// Its method.
    pub method: Method,
}

/// A ring, first in, first out. The request's direction writes `pushed`, the response's `popped`, and each only its
/// own: two CPUs may be at it at once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pushed: u32,
    popped: u32,
    slots: [u64; DEPTH as usize],
}

impl Default for Pending {
    fn default() -> Self {
        Self { pushed: 0, popped: 0, slots: [0; DEPTH as usize] }
    }
}

impl Pending {
    /// How many wait.
    #[inline(always)]
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.pushed.wrapping_sub(self.popped)
    }

    /// Adds a request; false if there is no room for its time.
    #[inline(always)]
    #[must_use]
    pub fn push(&mut self, request: Request) -> bool {
        if self.waiting() >= DEPTH {
            return false;
        }
        let slot = request.started << METHOD_BITS | request.method as u64;
        self.slots[(self.pushed % DEPTH) as usize] = slot;
        self.pushed = self.pushed.wrapping_add(1);
        true
    }

    /// The oldest one.
    #[inline(always)]
    #[must_use]
    pub fn first(&self) -> Option<Request> {
        if self.waiting() == 0 {
            return None;
        }
        let slot = self.slots[(self.popped % DEPTH) as usize];
        // Not `from_key`: an array in read-only data is one lookup more.
        let method = match slot as u8 {
            1 => Method::Get,
            2 => Method::Head,
            3 => Method::Post,
            4 => Method::Put,
            5 => Method::Delete,
            6 => Method::Connect,
            7 => Method::Options,
            8 => Method::Trace,
            9 => Method::Patch,
            10 => Method::Query,
            _ => Method::Other,
        };
        Some(Request { started: slot >> METHOD_BITS, method })
    }

    /// Removes the oldest one, if there is one.
    #[inline(always)]
    pub fn pop_if_any(&mut self) {
        if self.waiting() > 0 {
            self.pop();
        }
    }

    /// Removes the oldest one, which there must be.
    #[inline(always)]
    pub fn pop(&mut self) {
        self.popped = self.popped.wrapping_add(1);
    }
}
