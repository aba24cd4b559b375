//! The counters of a service.

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

impl ServiceCounters {
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
