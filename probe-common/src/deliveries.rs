//! The answers of a connection that are on their way: sent, and not yet acknowledged to the last byte.

/// How many stretches of answers are kept. Answers that came in one segment share one.
pub const DEPTH: u32 = 16;

/// Answers that began together, and the sequence number behind the last of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// When their first byte was sent, in nanoseconds of the monotonic clock.
    pub began: u64,
    /// Sequence number that acknowledges all of them.
    pub end: u32,
    /// How many answers.
    pub answers: u32,
}

/// A ring, first in, first out. The response's direction writes `pushed`, the request's `popped`: acknowledgements
/// come with what the client sends.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Deliveries {
    pushed: u32,
    popped: u32,
    slots: [Delivery; DEPTH as usize],
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { pushed: 0, popped: 0, slots: [Delivery::default(); DEPTH as usize] }
    }
}

impl Deliveries {
    /// Adds an answer; false if there is no room for it.
    #[inline(always)]
    #[must_use]
    pub fn push(&mut self, began: u64, end: u32) -> bool {
        let waiting = self.pushed.wrapping_sub(self.popped);
        if waiting > 0 {
            // Nobody can have acknowledged what this very packet bears, so that the slot is still ours.
            let last = &mut self.slots[(self.pushed.wrapping_sub(1) % DEPTH) as usize];
            if last.began == began {
                last.end = end;
                last.answers += 1;
                return true;
            }
        }
        if waiting >= DEPTH {
            return false;
        }
        self.slots[(self.pushed % DEPTH) as usize] = Delivery { began, end, answers: 1 };
        self.pushed = self.pushed.wrapping_add(1);
        true
    }

    /// The oldest ones, if this acknowledgement covers them.
    #[inline(always)]
    #[must_use]
    pub fn first_covered(&self, acknowledged: u32) -> Option<Delivery> {
        if self.pushed == self.popped {
            return None;
        }
        let first = self.slots[(self.popped % DEPTH) as usize];
        if crate::sequence::distance(first.end, acknowledged) < 0 { None } else { Some(first) }
    }

    /// Removes the oldest ones, which there must be.
    #[inline(always)]
    pub fn pop(&mut self) {
        self.popped = self.popped.wrapping_add(1);
    }

    /// Removes the oldest ones, acknowledged or not.
    #[inline(always)]
    #[must_use]
    pub fn take_first(&mut self) -> Option<Delivery> {
        if self.pushed == self.popped {
            return None;
        }
        let first = self.slots[(self.popped % DEPTH) as usize];
        self.pop();
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_delivered_when_its_last_byte_is_acknowledged() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.push(5, u32::MAX - 1) && deliveries.push(9, 10));
        assert_eq!(deliveries.first_covered(u32::MAX - 2), None);
        assert_eq!(deliveries.first_covered(3).map(|first| first.began), Some(5), "sequence numbers wrap");
        deliveries.pop();
        assert_eq!(deliveries.first_covered(9), None);
        assert_eq!(deliveries.first_covered(10), Some(Delivery { began: 9, end: 10, answers: 1 }));
    }

    #[test]
    fn answers_of_one_packet_share_a_slot() {
        let mut deliveries = Deliveries::default();
        for i in 0..100 {
            assert!(deliveries.push(7, i));
        }
        assert_eq!(deliveries.take_first(), Some(Delivery { began: 7, end: 99, answers: 100 }));
        assert_eq!(deliveries.take_first(), None);
    }

    #[test]
    fn one_too_many_is_refused() {
        let mut deliveries = Deliveries::default();
        let taken = (0..DEPTH + 3).filter(|i| deliveries.push(u64::from(*i), *i)).count();
        assert_eq!(taken, DEPTH as usize);
    }
}
