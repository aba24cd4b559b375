//! The times of a capture's packets.

/// What the engine's clock shows at the first packet of a file: so much may lie before it, ten years.
const START: i128 = 10 * 365 * 86_400 * 1_000_000_000;

/// From when to when, and whether time goes back in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Of the packet that came first in the file: what the engine's clock starts from.
    pub(super) start: u64,
    pub(super) earliest: u64,
    pub(super) latest: u64,
    previous: u64,
    /// How often a packet is older than the one before it.
    pub(super) steps_back: u64,
    /// By how much at most, in nanoseconds.
    pub(super) furthest_back: u64,
}

impl Span {
    pub(super) const fn from(start: u64) -> Self {
        Self { start, earliest: start, latest: start, previous: start, steps_back: 0, furthest_back: 0 }
    }

    /// Takes note of the next packet, and gives its time by the engine's clock, which is right for packets before the first
    /// one, too.
    pub(super) fn note(&mut self, time: u64) -> u64 {
        if time < self.previous {
            self.steps_back += 1;
            self.furthest_back = self.furthest_back.max(self.previous - time);
        }
        self.previous = time;
        self.earliest = self.earliest.min(time);
        self.latest = self.latest.max(time);
        self.clock(time)
    }

    /// A time by the engine's clock.
    pub(super) fn clock(&self, time: u64) -> u64 {
        let since = i128::from(time) - i128::from(self.start) + START;
        u64::try_from(since.max(0)).unwrap_or(u64::MAX)
    }

    /// The time in nanoseconds since 1970 that the engine's clock shows so.
    pub(super) fn since_1970(&self, clock: u64) -> u64 {
        let time = i128::from(clock) - START + i128::from(self.start);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}
