//! The counters of a service.

/// Bytes and packets of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Bytes.
    pub bytes: u64,
    /// Packets on the wire: a segmentation-offload buffer stands for many.
    pub packets: u64,
}

/// A service's counters, one entry a CPU; the agent adds them up.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Received: payload bytes, each byte of the stream once, whatever TCP sent again.
    pub received: Volume,
    /// Sent, likewise.
    pub sent: Volume,
    /// Connections established.
    pub opened: u64,
    /// Connections that were there before the probe and were taken up.
    pub joined: u64,
    /// Connections closed, of those opened or joined.
    pub closed: u64,
    /// Attempts to connect that were refused or timed out.
    pub failed: u64,
}
