//! The counters of a service.

use core::mem::offset_of;

use crate::protocol::Protocol;

/// Bytes and packets of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Bytes.
    pub bytes: u64,
    /// Packets on the wire: a segmentation-offload buffer stands for many.
    pub packets: u64,
}

impl Volume {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.packets += other.packets;
    }
}

/// Requests of a protocol, as they begin and end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Requests whose first line was read.
    pub began: u64,
    /// Those of them that were answered, or that ended without an answer.
    pub ended: u64,
}

/// A service's counters, one entry a CPU; the agent adds them up.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Received: payload bytes, each byte of the stream once, whatever TCP sent again.
    pub received: Volume,
    /// Sent, likewise.
    pub sent: Volume,
    /// Bytes of the IP packets received, with headers and with what was sent again.
    pub received_wire: u64,
    /// Bytes of the IP packets sent, likewise.
    pub sent_wire: u64,
    /// Segments sent that bore nothing new: data, SYN or FIN once more.
    pub retransmitted: u64,
    /// Connections established.
    pub opened: u64,
    /// Connections that were there before the probe and were taken up.
    pub joined: u64,
    /// Connections closed, of those opened or joined.
    pub closed: u64,
    /// Connections that ended by a reset, sent or received; they are among those closed.
    pub reset: u64,
    /// Attempts to connect that were refused or timed out.
    pub failed: u64,
    /// Requests under way, by [`Protocol::measured`].
    pub progress: [Progress; Protocol::MEASURED.len()],
}

/// How many numbers the counters of a service are.
pub const NUMBERS: usize = 12 + 2 * Protocol::MEASURED.len();

const _: () = {
    assert!(size_of::<ServiceCounters>() == NUMBERS * size_of::<u64>());
    assert!(offset_of!(ServiceCounters, sent) == 2 * 8);
    assert!(offset_of!(ServiceCounters, received_wire) == 4 * 8);
    assert!(offset_of!(ServiceCounters, sent_wire) == 5 * 8);
    assert!(offset_of!(ServiceCounters, retransmitted) == 6 * 8);
    assert!(offset_of!(ServiceCounters, opened) == 7 * 8);
    assert!(offset_of!(ServiceCounters, joined) == 8 * 8);
    assert!(offset_of!(ServiceCounters, closed) == 9 * 8);
    assert!(offset_of!(ServiceCounters, reset) == 10 * 8);
    assert!(offset_of!(ServiceCounters, failed) == 11 * 8);
    assert!(offset_of!(ServiceCounters, progress) == 12 * 8);
};

impl ServiceCounters {
    /// All of them, in the order in which they lie in memory.
    #[must_use]
    pub fn numbers(&self) -> [u64; NUMBERS] {
        let [received, sent] = [self.received, self.sent];
        let mut numbers = [0; NUMBERS];
        numbers[..12].copy_from_slice(&[
            received.bytes,
            received.packets,
            sent.bytes,
            sent.packets,
            self.received_wire,
            self.sent_wire,
            self.retransmitted,
            self.opened,
            self.joined,
            self.closed,
            self.reset,
            self.failed,
        ]);
        for (pair, progress) in numbers[12..].as_chunks_mut::<2>().0.iter_mut().zip(self.progress) {
            *pair = [progress.began, progress.ended];
        }
        numbers
    }

    /// What is left of them when nothing of the service is open or waits any more: whatever was seen of its connections and
    /// requests, they have all ended.
    #[must_use]
    pub fn at_rest(&self) -> Self {
        let mut rest = *self;
        rest.joined = rest.closed.saturating_sub(rest.opened);
        rest.closed = rest.opened + rest.joined;
        for progress in &mut rest.progress {
            progress.ended = progress.began;
        }
        rest
    }

    /// Adds those of another CPU.
    pub fn add(&mut self, other: &Self) {
        self.received.add(other.received);
        self.sent.add(other.sent);
        self.received_wire += other.received_wire;
        self.sent_wire += other.sent_wire;
        self.retransmitted += other.retransmitted;
        self.opened += other.opened;
        self.joined += other.joined;
        self.closed += other.closed;
        self.reset += other.reset;
        self.failed += other.failed;
        for (sum, progress) in self.progress.iter_mut().zip(other.progress) {
            sum.began += progress.began;
            sum.ended += progress.ended;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_rest_nothing_is_open_and_nothing_that_is_shown_is_less() {
        let progress = Progress { began: 5, ended: 6 };
        for (opened, joined, closed) in [(3, 1, 4), (3, 0, 4), (3, 2, 5), (4, 0, 4)] {
            let counters = ServiceCounters {
                opened,
                joined,
                closed,
                progress: [progress; 1],
                ..ServiceCounters::default()
            };
            let rest = counters.at_rest();
            assert_eq!((rest.opened, rest.closed), (opened, closed));
            assert_eq!(rest.opened + rest.joined, rest.closed);
            assert_eq!(rest.progress[0], Progress { began: 5, ended: 5 });
        }
    }
}
