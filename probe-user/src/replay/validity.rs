//! Whether a segment can be of the connection whose addresses and ports it bears, by its numbers (RFC 9293, section
//! 3.10.7.4).
//!
//! The kernel knows what an end has received; a capture may lack any part of that. So a segment outside of the window is
//! neither accepted nor dropped: it is held until something else bears it out, as everything behind a gap in the
//! capture does, and nothing that was forged or damaged.

use probe_common::sequence::distance;

use super::{half::NEAR, tcp::Segment};

/// How much of a held segment is kept: any first line, and most heads.
const KEPT: usize = 2 << 10;

/// Held segments, of all connections, of which the bytes are kept.
const HELD: usize = 4_096;

/// The largest scale of a window (RFC 7323, section 2.3).
const LARGEST_SCALE: u8 = 14;

/// What an end allows the other one to send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offer {
    /// As its SYN said: none if that was not seen.
    scale: Option<Scale>,
    /// Sequence number behind the last byte that was ever allowed, by windows whose scale is known.
    edge: Option<u32>,
}

/// How windows are scaled: by a power of two, if both ends say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    By(u8),
    Unscaled,
}

impl Offer {
    /// Takes note of a segment of the end's; `other` is what the other end has offered.
    pub(super) fn note(&mut self, segment: &Segment<'_>, other: &Self) {
        if segment.rst {
            return;
        }
        if segment.syn {
            self.scale =
                Some(segment.scale.map_or(Scale::Unscaled, |scale| Scale::By(scale.min(LARGEST_SCALE))));
        }
        let scale = match (self.scale, other.scale) {
            // The window of a SYN is never scaled.
            _ if segment.syn => 0,
            (Some(Scale::By(scale)), Some(Scale::By(_))) => scale,
            (Some(Scale::Unscaled), _) | (_, Some(Scale::Unscaled)) => 0,
            _ => return,
        };
        let Some(next) = segment.acknowledged else { return };
        let edge = next.wrapping_add(u32::from(segment.window) << scale);
        if self.edge.is_none_or(|known| distance(known, edge) > 0) {
            self.edge = Some(edge);
        }
    }

    /// Whether the other end may send what begins there, having come so far.
    fn allows(&self, furthest: u32, sequence: u32) -> bool {
        let ahead = distance(furthest, sequence);
        ahead <= 0
            || match self.edge {
                Some(edge) => distance(edge, sequence) <= 0,
                None => ahead.unsigned_abs() < NEAR,
            }
    }
}

/// How far an end has come, and what it allows the other one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Sequence number behind the furthest that it has sent, if anything was seen.
    pub(super) furthest: Option<u32>,
    pub(super) offer: Offer,
}

/// Whether a segment's numbers are such as its end can send.
pub(super) fn plausible(segment: &Segment<'_>, own: Progress, other: Progress) -> bool {
    let Some(furthest) = own.furthest else { return true };
    if segment.rst {
        return distance(furthest, segment.sequence).unsigned_abs() < NEAR;
    }
    let sent = other.offer.allows(furthest, segment.sequence);
    let acknowledges = match (other.furthest, segment.acknowledged) {
        // A FIN that was not captured takes a number, too.
        (Some(furthest), Some(next)) => own.offer.allows(furthest.wrapping_add(1), next),
        _ => true,
    };
    sent && acknowledges
}

/// A segment that is not accepted yet.
#[derive(Debug)]
pub(super) struct Held {
    segment: Segment<'static>,
    payload: Box<[u8]>,
    pub(super) time: u64,
}

impl Held {
    /// Holds a segment; `kept` counts those of all connections of which the bytes are kept.
    pub(super) fn new(segment: &Segment<'_>, time: u64, kept: &mut usize) -> Self {
        let room = if *kept < HELD { KEPT } else { 0 };
        let payload: Box<[u8]> = segment.payload[..segment.payload.len().min(room)].into();
        *kept += usize::from(!payload.is_empty());
        Self { segment: Segment { payload: &[], ..*segment }, payload, time }
    }

    /// It is held no more.
    pub(super) fn release(&self, kept: &mut usize) {
        *kept -= usize::from(!self.payload.is_empty());
    }

    /// The segment, as far as its bytes were kept.
    pub(super) fn segment(&self) -> Segment<'_> {
        Segment { payload: &self.payload, ..self.segment }
    }

    /// Whether another segment of the same end goes on where this one ended.
    pub(super) fn is_continued(&self, next: &Segment<'_>) -> bool {
        let held = &self.segment;
        let follows = |from: u32, to: u32| (0..NEAR.cast_signed()).contains(&distance(from, to));
        let agrees = match (held.acknowledged, next.acknowledged) {
            (Some(held), Some(next)) => follows(held, next),
            _ => true,
        };
        // The same once more says nothing: it was captured twice.
        let more = next.end() != held.end() || next.acknowledged != held.acknowledged;
        !held.rst && !next.syn && !next.rst && follows(held.end(), next.sequence) && agrees && more
    }

    /// Whether a segment of the other end bears this one out: what comes before it must have been received, and what it
    /// acknowledges must have been sent. That a window has come to allow it proves nothing.
    pub(super) fn is_answered(&self, answer: &Segment<'_>, own: Progress, other: Progress) -> bool {
        let held = &self.segment;
        if held.rst || answer.rst {
            return false;
        }
        let begins = held.sequence;
        let sent = own.furthest.is_some_and(|furthest| distance(begins, furthest) >= 0)
            || answer
                .acknowledged
                .is_some_and(|next| (0..NEAR.cast_signed()).contains(&distance(begins, next)));
        let acknowledges = held.acknowledged.is_none_or(|next| {
            [other.furthest, Some(answer.end())].into_iter().flatten().any(|sent| distance(next, sent) >= 0)
        });
        sent && acknowledges
    }
}
