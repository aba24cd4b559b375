//! A request with its response, and the key under which the kernel counts it.

use crate::protocol::{Method, Protocol};

/// A request that was answered, or that ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The protocol.
    pub protocol: Protocol,
    /// The request's method.
    pub method: Method,
    /// The response's status code; [`ABORTED`] if the connection ended first.
    pub status: u16,
    /// First byte of the request to first byte of the response, in nanoseconds.
    pub first_byte: u64,
    /// First byte of the request to last byte of the response, in nanoseconds.
    pub duration: u64,
}

/// Status of a request whose connection ended before its answer did.
pub const ABORTED: u16 = 0;

/// Which duration a histogram entry holds.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Span {
    /// To the first and to the last byte of the response, which came together: one entry serves two histograms.
    Both = 0,
    /// To the first byte of the response.
    FirstByte = 1,
    /// To the last byte of the response.
    Duration = 2,
}

impl Span {
    /// The span that a map's key names.
    #[must_use]
    pub const fn from_key(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Both),
            1 => Some(Self::FirstByte),
            2 => Some(Self::Duration),
            _ => None,
        }
    }
}

/// Key of an entry of the sparse histograms: a series and a bucket of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatencyKey {
    /// The service's index.
    pub service: u32,
    /// Status code of the response; [`ABORTED`].
    pub status: u16,
    /// Bucket: see [`crate::bucket`].
    pub bucket: u16,
    /// [`Protocol`]
    pub protocol: u8,
    /// [`Method`]
    pub method: u8,
    /// [`Span`]
    pub span: u8,
    /// Zero: the kernel hashes every byte of a key.
    pub padding: u8,
}

/// An entry of the sparse histograms, one a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyCell {
    /// Requests.
    pub count: u64,
    /// Sum of their durations, in nanoseconds.
    pub sum: u64,
}
