//! The two ends of a connection, whichever of them a segment is from.

use std::{
    net::SocketAddr,
    ops::{Index, IndexMut},
};

use super::tcp::Segment;

/// A connection's addresses and ports, the same for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pair {
    low: SocketAddr,
    high: SocketAddr,
}

/// One end of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Low,
    High,
}

impl Pair {
    /// The connection that a segment belongs to, and the end that has sent it.
    pub(super) fn of(segment: &Segment<'_>) -> (Self, End) {
        let (from, to) = (segment.from, segment.to);
        if from <= to {
            (Self { low: from, high: to }, End::Low)
        } else {
            (Self { low: to, high: from }, End::High)
        }
    }

    /// The address and port at an end.
    pub(super) fn at(&self, end: End) -> SocketAddr {
        match end {
            End::Low => self.low,
            End::High => self.high,
        }
    }

    /// The end with the lower port, as servers usually have it.
    pub(super) fn lower_port(&self) -> End {
        if self.low.port() <= self.high.port() { End::Low } else { End::High }
    }
}

impl End {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }
}

/// Something of each end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends<T>([T; 2]);

impl<T> Index<End> for Ends<T> {
    type Output = T;

    fn index(&self, end: End) -> &T {
        &self.0[end as usize]
    }
}

impl<T> IndexMut<End> for Ends<T> {
    fn index_mut(&mut self, end: End) -> &mut T {
        &mut self.0[end as usize]
    }
}
