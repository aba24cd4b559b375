//! What one end of a connection has sent.

use probe_common::{counters::Volume, sequence::distance};

use super::{
    pair::{End, Ends},
    tcp::Segment,
    validity::{Offer, Progress},
};

/// How far from what was last seen a segment may lie and still be of the same connection, in bytes: more than is ever
/// under way, and less than what a new connection's first sequence number is likely to be away.
pub(super) const NEAR: u32 = 1 << 24;

/// How long after its end something may come that belongs to a connection: as long as Linux keeps its addresses and
/// ports from use (`TCP_TIMEWAIT_LEN`).
const LINGERING: u64 = 60_000_000_000;

/// What one end has sent.
#[derive(Clone, Copy, Default)]
pub(super) struct Half {
    /// Its SYN's sequence number.
    pub(super) initial: Option<u32>,
    /// Sequence number behind its FIN.
    pub(super) fin: Option<u32>,
    /// What it has received.
    pub(super) acknowledged: Option<u32>,
    /// Sequence number behind the furthest that it has sent.
    pub(super) furthest: Option<u32>,
    /// What it allows the other end to send.
    pub(super) offer: Offer,
    pub(super) volume: Volume,
    pub(super) again: u64,
}

impl Half {
    pub(super) fn progress(&self) -> Progress {
        Progress { furthest: self.furthest, offer: self.offer }
    }

    pub(super) fn note(&mut self, segment: &Segment<'_>, other: &Offer) {
        self.offer.note(segment, other);
        let further = |known: &mut Option<u32>, seen: u32| {
            if known.is_none_or(|known| distance(known, seen) > 0) {
                *known = Some(seen);
            }
        };
        if segment.rst {
            // A reset may carry any number.
            return;
        }
        further(&mut self.furthest, segment.end());
        if let Some(next) = segment.acknowledged {
            further(&mut self.acknowledged, next);
        }
        if segment.fin {
            further(&mut self.fin, segment.end());
        }
    }

    pub(super) fn is_near(&self, segment: &Segment<'_>) -> bool {
        self.furthest.is_some_and(|furthest| distance(furthest, segment.end()).unsigned_abs() < NEAR)
    }
}

/// What is remembered of a connection that has ended, to tell what still comes of it from a new one.
pub(super) struct Remains {
    pub(super) halves: Ends<Half>,
    pub(super) ended: u64,
}

impl Remains {
    /// Whether a segment is one of that connection.
    pub(super) fn cover(&self, from: End, segment: &Segment<'_>, now: u64) -> bool {
        let half = &self.halves[from];
        if segment.syn {
            return half.initial == Some(segment.sequence);
        }
        let recent = now.saturating_sub(self.ended) < LINGERING;
        recent && (half.furthest.is_none() || segment.rst || half.is_near(segment))
    }
}
