//! A request with its response, and the key under which the kernel counts it.

use crate::{
    phase::Phase,
    protocol::{Method, Protocol},
    route,
};

/// A request that was answered, or that ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The protocol.
    pub protocol: Protocol,
    /// The request's method.
    pub method: Method,
    /// The response's status code, with [`Ending`] of a response that was cut short; [`ABORTED`] or [`CANCELLED`] if the
    /// connection ended first.
    pub status: u16,
    /// First byte of the request to first byte of the response, in nanoseconds.
    pub first_byte: u64,
    /// First byte of the request to last byte of the response, in nanoseconds.
    pub duration: u64,
    /// First byte of the request until the application read it, in nanoseconds; all of `first_byte` if it never did.
    pub queue: u64,
    /// Index of the request's route among those of its service; [`crate::route::OTHER`] where routes are not counted.
    pub route: u8,
}

impl Exchange {
    /// From the application's reading to the first byte of the response, in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn service(&self) -> u64 {
        self.first_byte - self.queue
    }
}

/// Status of a request that the server left without an answer: it ended the connection before a status line.
pub const ABORTED: u16 = 0;

/// Status of a request whose client did not wait for the answer: it ended the connection before a status line. What nginx logs
/// as 499.
pub const CANCELLED: u16 = 10;

/// Bits of a status that say how the response ended; the others are its code.
const ENDING: u16 = 0b11 << 12;

/// How a response that has a status ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// As its head said; or there was none.
    #[default]
    Whole,
    /// The server ended the connection first: the response is not all there.
    CutByServer,
    /// The client did: it did not want the rest.
    CutByClient,
}

impl Ending {
    /// That of a status.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match (status & ENDING) >> 12 {
            1 => Self::CutByServer,
            2 => Self::CutByClient,
            _ => Self::Whole,
        }
    }

    /// A code with this ending.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, code: u16) -> u16 {
        code | (self as u16) << 12
    }
}

/// A status without its [`Ending`].
#[inline(always)]
#[must_use]
pub const fn code_of(status: u16) -> u16 {
    status & !ENDING
}

/// What stands for a status where a service has no room for more series: its class, the first of its three digits, and its
/// ending. [`ABORTED`], [`CANCELLED`] and a class stay what they are. No code is below 100, so none of these are the same.
#[inline(always)]
#[must_use]
pub const fn class_of(status: u16) -> u16 {
    let code = code_of(status);
    if code < 100 { status } else { (status & ENDING) | (code / 100) }
}

/// The class that a key's status stands for, if it stands for one.
#[must_use]
pub const fn as_class(status: u16) -> Option<u16> {
    match status {
        1..=9 => Some(status),
        _ => None,
    }
}

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
    /// [`Phase::Queue`]
    Queue = 3,
    /// [`Phase::Service`]
    Service = 4,
    /// [`Phase::Delivery`]
    Delivery = 5,
    /// No part of a request: the connection's smoothed round-trip time.
    RoundTrip = 6,
    /// No duration, but the sign that the series has been admitted among those of its service: an entry without a bucket,
    /// whose content means nothing.
    Admission = 7,
}

impl Span {
    /// The span that a map's key names.
    #[must_use]
    pub const fn from_key(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Both),
            1 => Some(Self::FirstByte),
            2 => Some(Self::Duration),
            3 => Some(Self::Queue),
            4 => Some(Self::Service),
            5 => Some(Self::Delivery),
            6 => Some(Self::RoundTrip),
            7 => Some(Self::Admission),
            _ => None,
        }
    }

    /// The phase that an entry holds, if it holds one.
    #[must_use]
    pub const fn phase(self) -> Option<Phase> {
        match self {
            Self::Queue => Some(Phase::Queue),
            Self::Service => Some(Phase::Service),
            Self::Delivery => Some(Phase::Delivery),
            Self::Both | Self::FirstByte | Self::Duration | Self::RoundTrip | Self::Admission => None,
        }
    }
}

/// Key of an entry of the sparse histograms: a series and a bucket of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatencyKey {
    /// The service's index.
    pub service: u32,
    /// As in [`Exchange`].
    pub status: u16,
    /// Bucket: see [`crate::bucket`].
    pub bucket: u16,
    /// [`Protocol`]
    pub protocol: u8,
    /// [`Method`]
    pub method: u8,
    /// [`Span`]
    pub span: u8,
    /// Index of the route among those of the service: see [`crate::route`]. 0 where the span is not of a request's end.
    pub route: u8,
}

impl LatencyKey {
    /// Whether a client has a say in what series this is of: it chooses the method, and it or the server the status.
    #[inline(always)]
    #[must_use]
    pub const fn is_chosen(&self) -> bool {
        self.span <= Span::Duration as u8
    }

    /// Whether the entry takes of its service's quota: those that clients multiply do. Those that stand for series without room,
    /// and the phases, of which there are only so many, must not take the room of series that were there before them.
    #[inline(always)]
    #[must_use]
    pub const fn takes_quota(&self) -> bool {
        let stands_for_others = self.method == Method::Other as u8
            && self.status == class_of(self.status)
            && self.route == route::OTHER;
        self.is_chosen() && !stands_for_others
    }

    /// Makes it the entry of the same service that stands for those of all series that found no room.
    #[inline(always)]
    pub const fn overflow(&mut self) {
        self.method = Method::Other as u8;
        self.status = class_of(self.status);
        self.route = route::OTHER;
    }
}

/// What all CPUs have of an entry together.
impl<'a> core::iter::Sum<&'a Self> for LatencyCell {
    fn sum<I: Iterator<Item = &'a Self>>(cells: I) -> Self {
        cells.fold(Self::default(), |all, cell| Self {
            count: all.count + cell.count,
            sum: all.sum + cell.sum,
        })
    }
}

/// An entry of the sparse histograms, one a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencyCell {
    /// Requests, or whatever was timed.
    pub count: u64,
    /// Sum of their durations, in nanoseconds.
    pub sum: u64,
}
