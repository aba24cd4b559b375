//! The requests of a connection that have not been answered.

use crate::protocol::Method;

/// How many times the engine keeps. Requests of one method, and of one route, that came together share one: wrk and redis-benchmark
/// pipeline 16 in a write.
pub const DEPTH: u32 = 32;

/// How many requests may wait on a connection. All of them end with it, in one run of a program.
pub const MOST: u32 = 16_384;

// What a slot has, from its lowest bit on: the method, the route, and the time in nanoseconds, as far as there are bits for
// it. Those of 52 days: see `time`.
const METHOD_BITS: u32 = 4;
const ROUTE_BITS: u32 = 8;
const TIME_AT: u32 = METHOD_BITS + ROUTE_BITS;
const ROUTE: u64 = ((1 << ROUTE_BITS) - 1) << METHOD_BITS;

const _: () = assert!(Method::ALL.len() <= 1 << METHOD_BITS, "a slot has no bits for so many methods");

/// The time in a slot: the one of those that end in its bits that is next to another time.
#[inline(always)]
const fn time(slot: u64, near: u64) -> u64 {
    let bits = slot >> TIME_AT << TIME_AT;
    let distance = (near << TIME_AT).wrapping_sub(bits).cast_signed() >> TIME_AT;
    near.wrapping_sub(distance.cast_unsigned())
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When its first byte came, in nanoseconds of the monotonic clock.
    pub started: u64,
    /// Its method.
    pub method: Method,
}

/// What became of a request that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has its time.
    Own,
    /// It has the time, the method and the route of the one before it.
    Shared,
    /// More wait than may.
    None,
}

/// A ring, first in, first out. The request's direction writes `pushed`, `asked` and `ends`, the response's `popped` and `answered`,
/// and the application's reading `read`, each only its own: several CPUs may be at it at once. How many wait does not depend on how
/// many times have room.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Slots that were filled.
    pushed: u32,
    /// Slots before the one that the latest answer was to.
    popped: u32,
    /// Up to which slot the application has read.
    read: u32,
    /// Requests so far.
    asked: u32,
    /// Of those, the ones that wait no more.
    answered: u32,
    /// Of no request: up to where the other end may send, which this end says with every packet. The state of a connection
    /// has no other room for it on a line that is written anyway.
    pub(crate) allowed: u32,
    /// When the one began that was removed last.
    removed: u64,
    slots: [u64; DEPTH as usize],
    /// How long the requests of each slot lay unread: see [`Wait`].
    waits: [Wait; DEPTH as usize],
    /// How many had been asked behind the last request of each slot, as far as there are bits for it: more than may wait.
    ends: [u16; DEPTH as usize],
}

const _: () = assert!(MOST < u16::MAX as u32, "what waits could not be told from what has been answered");

impl Default for Pending {
    fn default() -> Self {
        Self {
            pushed: 0,
            popped: 0,
            read: 0,
            asked: 0,
            answered: 0,
            allowed: 0,
            removed: 0,
            slots: [0; DEPTH as usize],
            waits: [Wait(0); DEPTH as usize],
            ends: [0; DEPTH as usize],
        }
    }
}

/// A duration in a quarter of the space: thirteen bits of nanoseconds, and by how many half bytes they are shifted, good for half an
/// hour. Right to 0.1 %, where a bucket is 9 % wide.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait(u16);

impl Wait {
    const BITS: u32 = 13;
    const SHIFTS: u16 = 7;
    const MOST: u64 = (1 << Self::BITS) - 1;

    #[inline(always)]
    const fn of(nanoseconds: u64) -> Self {
        let (mut rest, mut shifts) = (nanoseconds, 0);
        while rest > Self::MOST && shifts < Self::SHIFTS {
            // To the nearest, or sums would be too small.
            rest = (rest + 8) >> 4;
            shifts += 1;
        }
        let rest = if rest > Self::MOST { Self::MOST } else { rest };
        Self((rest << 3) as u16 | shifts)
    }

    #[inline(always)]
    const fn nanoseconds(self) -> u64 {
        (self.0 as u64 >> 3) << (4 * (self.0 & 7))
    }
}

impl Pending {
    /// How many wait.
    #[inline(always)]
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.asked.wrapping_sub(self.answered)
    }

    /// How many there have been.
    #[inline(always)]
    #[must_use]
    pub const fn asked(&self) -> u32 {
        self.asked
    }

    /// Adds a request. It shares the slot of the one before it if it came with that, or if there is no room for another time.
    #[inline(always)]
    #[must_use]
    pub fn push(&mut self, request: Request) -> Place {
        if self.waiting() >= MOST {
            return Place::None;
        }
        let slot = request.started << TIME_AT | request.method as u64;
        let held = self.pushed.wrapping_sub(self.popped);
        let last = (self.pushed.wrapping_sub(1) % DEPTH) as usize;
        let together = held > 0 && self.slots[last] & !ROUTE == slot;
        let place = if together || held < DEPTH { Place::Own } else { Place::Shared };
        self.asked = self.asked.wrapping_add(1);
        if together || held >= DEPTH {
            self.ends[last] = self.asked as u16;
        } else {
            self.fill(slot);
        }
        place
    }

    /// Fills the next slot, for the request that was added last.
    #[inline(always)]
    fn fill(&mut self, slot: u64) {
        let next = (self.pushed % DEPTH) as usize;
        self.slots[next] = slot;
        self.ends[next] = self.asked as u16;
        self.pushed = self.pushed.wrapping_add(1);
    }

    /// Gives the request that was added last its route: in a slot of its own, if it differs from that of those it shares one with, and
    /// there is room. Where routes are not counted nobody does, and all of them have the route 0.
    #[inline(always)]
    pub fn route_last(&mut self, route: u8) {
        let last = (self.pushed.wrapping_sub(1) % DEPTH) as usize;
        let before = (self.pushed.wrapping_sub(2) % DEPTH) as usize;
        let slot = self.slots[last] & !ROUTE | u64::from(route) << METHOD_BITS;
        if (self.asked as u16).wrapping_sub(self.ends[before]) == 1 {
            self.slots[last] = slot;
        } else if self.slots[last] != slot && self.pushed.wrapping_sub(self.popped) < DEPTH {
            self.ends[last] = self.ends[last].wrapping_sub(1);
            self.fill(slot);
        }
    }

    /// When the one began that was removed last, in nanoseconds of the monotonic clock.
    #[inline(always)]
    #[must_use]
    pub const fn start_of_removed(&self) -> u64 {
        self.removed
    }

    /// The route of the one that was removed last.
    #[inline(always)]
    #[must_use]
    pub fn route_of_removed(&self) -> u8 {
        (self.slots[(self.popped % DEPTH) as usize] >> METHOD_BITS) as u8
    }

    /// The slot of the oldest one, if any waits: behind the latest answer's, if that was the last of its slot.
    #[inline(always)]
    fn front(&self) -> u32 {
        let done = self.ends[(self.popped % DEPTH) as usize] == self.answered as u16;
        self.popped.wrapping_add(u32::from(done))
    }

    /// The oldest one. `near` is a time less than 26 days from when it came.
    #[inline(always)]
    #[must_use]
    pub fn first(&self, near: u64) -> Option<Request> {
        if self.waiting() == 0 {
            return None;
        }
        let slot = self.slots[(self.front() % DEPTH) as usize];
        let method = Method::of_number(slot as u8 & ((1 << METHOD_BITS) - 1));
        Some(Request { started: time(slot, near), method })
    }

    /// When the one began that was added last. `near` is as for [`Self::first`].
    #[inline(always)]
    #[must_use]
    pub fn start_of_last(&self, near: u64) -> u64 {
        time(self.slots[(self.pushed.wrapping_sub(1) % DEPTH) as usize], near)
    }

    /// When the oldest one's first byte came; none if nothing waits. `near` is as for [`Self::first`].
    #[inline(always)]
    #[must_use]
    pub fn oldest(&self, near: u64) -> Option<u64> {
        if self.waiting() == 0 {
            return None;
        }
        Some(time(self.slots[(self.front() % DEPTH) as usize], near))
    }

    /// How long the oldest one lay unread, in nanoseconds; `u64::MAX` if it still does.
    #[inline(always)]
    #[must_use]
    pub fn unread_for(&self) -> u64 {
        let front = self.front();
        if crate::sequence::distance(front, self.read) <= 0 {
            return u64::MAX;
        }
        self.waits[(front % DEPTH) as usize].nanoseconds()
    }

    /// Whether there are requests that the application has not begun to read.
    #[inline(always)]
    #[must_use]
    pub fn unread(&self) -> bool {
        self.read != self.pushed
    }

    /// The application has read: all that has come so far is in its hands, or about to be.
    #[inline(always)]
    pub fn note_read(&mut self, now: u64) {
        // One look: a request that comes meanwhile is for the next reading.
        let pushed = self.pushed;
        if pushed.wrapping_sub(self.read) > DEPTH {
            self.read = pushed.wrapping_sub(DEPTH);
        }
        for _ in 0..DEPTH {
            if self.read == pushed {
                break;
            }
            let slot = (self.read % DEPTH) as usize;
            let started = time(self.slots[slot], now);
            self.waits[slot] = Wait::of(now.saturating_sub(started));
            self.read = self.read.wrapping_add(1);
        }
    }

    /// Removes the oldest one, which there must be, and which began at that time.
    #[inline(always)]
    pub fn pop(&mut self, started: u64) {
        self.removed = started;
        self.popped = self.front();
        self.answered = self.answered.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
