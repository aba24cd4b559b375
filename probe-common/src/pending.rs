//! The requests of a connection that have not been answered.

use crate::protocol::Method;

/// How many the engine keeps times of: wrk and redis-benchmark pipeline 16.
pub const DEPTH: u32 = 32;

// What a slot has, from its lowest bit on: the method, the route, and the time in nanoseconds, as far as there are bits for
// it. Those of 52 days: see `time`.
const METHOD_BITS: u32 = 4;
const ROUTE_BITS: u32 = 8;
const TIME_AT: u32 = METHOD_BITS + ROUTE_BITS;

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

/// A ring, first in, first out. The request's direction writes `pushed`, the response's `popped`, and the
/// application's reading `read`, each only its own: several CPUs may be at it at once.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pushed: u32,
    popped: u32,
    /// Up to which request the application has read.
    read: u32,
    /// Requests behind the last one in the ring that found no room in it.
    refused: u32,
    /// How many of those have been answered.
    passed: u32,
    /// Of no request: up to where the other end may send, which this end says with every packet. The state of a connection
    /// has no other room for it on a line that is written anyway.
    pub(crate) allowed: u32,
    /// When the one began that was removed last.
    removed: u64,
    slots: [u64; DEPTH as usize],
    /// How long each request lay unread: see [`Wait`].
    waits: [Wait; DEPTH as usize],
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            pushed: 0,
            popped: 0,
            read: 0,
            refused: 0,
            passed: 0,
            allowed: 0,
            removed: 0,
            slots: [0; DEPTH as usize],
            waits: [Wait(0); DEPTH as usize],
        }
    }
}

/// A duration in half the space: nanoseconds up to two seconds, units of 1,024 ns beyond, good for half an hour.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait(u32);

impl Wait {
    const COARSE: u32 = 1 << 31;

    #[inline(always)]
    const fn of(nanoseconds: u64) -> Self {
        if nanoseconds < Self::COARSE as u64 {
            return Self(nanoseconds as u32);
        }
        let units = nanoseconds >> 10;
        let most = (Self::COARSE - 1) as u64;
        Self(Self::COARSE | if units > most { most as u32 } else { units as u32 })
    }

    #[inline(always)]
    const fn nanoseconds(self) -> u64 {
        if self.0 & Self::COARSE == 0 { self.0 as u64 } else { ((self.0 & !Self::COARSE) as u64) << 10 }
    }
}

impl Pending {
    /// How many wait.
    #[inline(always)]
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.pushed.wrapping_sub(self.popped)
    }

    /// Adds a request; false if there is no room for its time. Until that request has had its answer no other one
    /// finds room either, or answers would go to the wrong requests.
    #[inline(always)]
    #[must_use]
    pub fn push(&mut self, request: Request) -> bool {
        if self.waiting() >= DEPTH || self.refused != self.passed {
            self.refused = self.refused.wrapping_add(1);
            return false;
        }
        let slot = request.started << TIME_AT | request.method as u64;
        self.slots[(self.pushed % DEPTH) as usize] = slot;
        self.pushed = self.pushed.wrapping_add(1);
        true
    }

    /// Gives the request that was added last its route. Where routes are not counted nobody does, and all of them have
    /// the route 0.
    #[inline(always)]
    pub fn route_last(&mut self, route: u8) {
        let slot = &mut self.slots[(self.pushed.wrapping_sub(1) % DEPTH) as usize];
        let mask = ((1 << ROUTE_BITS) - 1) << METHOD_BITS;
        *slot = *slot & !mask | u64::from(route) << METHOD_BITS;
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
        (self.slots[(self.popped.wrapping_sub(1) % DEPTH) as usize] >> METHOD_BITS) as u8
    }

    /// The oldest one. `near` is a time less than 26 days from when it came.
    #[inline(always)]
    #[must_use]
    pub fn first(&self, near: u64) -> Option<Request> {
        if self.waiting() == 0 {
            return None;
        }
        let slot = self.slots[(self.popped % DEPTH) as usize];
        // Not `from_key`: an array in read-only data is one lookup more.
        let method = match slot as u8 & ((1 << METHOD_BITS) - 1) {
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
        Some(Request { started: time(slot, near), method })
    }

    /// When the oldest one's first byte came; none if nothing waits. `near` is as for [`Self::first`].
    #[inline(always)]
    #[must_use]
    pub fn oldest(&self, near: u64) -> Option<u64> {
        if self.waiting() == 0 {
            return None;
        }
        Some(time(self.slots[(self.popped % DEPTH) as usize], near))
    }

    /// How long the oldest one lay unread, in nanoseconds; `u64::MAX` if it still does.
    #[inline(always)]
    #[must_use]
    pub fn unread_for(&self) -> u64 {
        if crate::sequence::distance(self.popped, self.read) <= 0 {
            return u64::MAX;
        }
        self.waits[(self.popped % DEPTH) as usize].nanoseconds()
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
        self.popped = self.popped.wrapping_add(1);
    }

    /// An answer has come while nothing waits: true if it is that of a request that found no room.
    #[inline(always)]
    #[must_use]
    pub fn pass(&mut self) -> bool {
        if self.refused == self.passed {
            return false;
        }
        self.passed = self.passed.wrapping_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(started: u64) -> Request {
        Request { started, method: Method::Get }
    }

    #[test]
    fn a_wait_is_exact_for_two_seconds_and_right_to_a_millionth_beyond() {
        for ns in [0, 1, 2_147_483_647] {
            assert_eq!(Wait::of(ns).nanoseconds(), ns);
        }
        for ns in [2_147_483_648_u64, 60_000_000_000, 1_800_000_000_000] {
            assert!(ns - Wait::of(ns).nanoseconds() < 1024, "{ns}");
        }
        assert!(Wait::of(u64::MAX).nanoseconds() > 1_800_000_000_000);
    }

    #[test]
    fn a_time_is_whole_however_long_the_machine_has_run() {
        for started in [0, 1, 7 << 50, (1 << 52) - 1, 1 << 52, (1 << 61) + 12_345, u64::MAX - (1 << 51)] {
            let mut pending = Pending::default();
            assert!(pending.push(get(started)));
            pending.route_last(u8::MAX);
            for age in [0, 1, 1_000_000_000, 25 * 86_400_000_000_000] {
                assert_eq!(pending.oldest(started + age), Some(started), "{started} after {age}");
                assert_eq!(pending.first(started + age), Some(get(started)), "{started} after {age}");
            }
            // A clock that went back: of a capture.
            assert_eq!(pending.oldest(started.saturating_sub(1_000)), Some(started));
        }
    }

    #[test]
    fn each_request_is_unread_until_the_reading_that_follows_it() {
        let mut pending = Pending::default();
        assert!(pending.push(get(100)));
        assert_eq!(pending.unread_for(), u64::MAX);
        pending.note_read(130);
        assert!(pending.push(get(140)) && pending.push(get(150)));
        pending.note_read(170);
        pending.note_read(999);
        for wait in [30, 30, 20] {
            assert_eq!(pending.unread_for(), wait);
            pending.pop(0);
        }
        assert_eq!(pending.unread_for(), u64::MAX);
    }

    #[test]
    fn what_was_answered_unread_is_not_read_later() {
        let mut pending = Pending::default();
        for i in 0..100 {
            assert!(pending.push(get(i)));
            pending.pop(0);
        }
        assert!(pending.push(get(200)));
        pending.note_read(207);
        assert_eq!(pending.unread_for(), 7);
    }

    #[test]
    fn each_request_keeps_its_route() {
        let mut pending = Pending::default();
        for route in 0..100 {
            assert!(pending.push(get(1)));
            pending.route_last(route);
            if route >= 20 {
                pending.pop(0);
                assert_eq!(pending.route_of_removed(), route - 20);
            }
        }
    }

    #[test]
    fn answers_to_requests_without_room_are_passed_over_in_their_order() {
        let mut pending = Pending::default();
        let taken = (0..u64::from(DEPTH) + 2).filter(|i| pending.push(get(*i))).count();
        assert_eq!(taken, DEPTH as usize);
        pending.pop(0);
        assert!(!pending.push(get(99)), "the two before it have no answer yet");
        (1..DEPTH).for_each(|_| pending.pop(0));
        assert!(pending.first(0).is_none() && pending.pass() && pending.pass() && pending.pass());
        assert!(!pending.pass() && pending.push(get(100)));
    }
}
