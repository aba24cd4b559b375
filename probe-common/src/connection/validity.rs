//! What TCP takes of what comes (RFC 9293, section 3.10.7.4; RFC 5961).
//!
//! The hook for received packets runs before TCP looks at a segment's numbers. What it will not take has been forged, or is
//! of a connection before this one with the same ports: it must move nothing here. So the end of the window that was offered
//! is kept; the other numbers the kernel tells.

use super::{Connection, Side, Stage};
use crate::{flow::Flow, sequence::distance};

/// The largest scale of a window (RFC 7323, section 2.3), and what is taken for one that is not known: rather too large.
const LARGEST_SCALE: u8 = 14;

/// The largest window.
const LARGEST_WINDOW: u32 = 1 << 30;

/// The largest window that a handshake offers: it is not scaled.
const LARGEST_FIRST_WINDOW: u32 = u16::MAX as u32;

/// So far behind what was sent, in powers of two, an acknowledgement may lie without being looked at more closely: more than
/// is usually under way.
const USUAL: u32 = 24;

/// Flags of TCP's header (RFC 9293, section 3.1).
pub mod flags {
    /// The stream ends.
    pub const FIN: u8 = 1;
    /// A connection is asked for, or granted.
    pub const SYN: u8 = 2;
    /// The connection ends at once.
    pub const RST: u8 = 4;
    /// Something is acknowledged: by all but the first segment, and some resets.
    pub const ACK: u8 = 16;
}
use flags::{ACK, FIN, RST, SYN};

/// A segment that was received, as TCP judges it.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its direction.
    pub side: Side,
    /// Its [`flags`].
    pub flags: u8,
    /// Sequence number of the first byte of payload.
    pub sequence: u32,
    /// Bytes of payload.
    pub length: u32,
    /// What it acknowledges, if it does.
    pub acknowledged: u32,
}

/// Sequence numbers of a connection, as the kernel has them.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// The next one that is expected.
    pub received: u32,
    /// The next one that will be sent.
    pub sent: u32,
    /// The next one that is to be acknowledged.
    pub acknowledged: u32,
    /// How many bytes have been acknowledged.
    pub acknowledged_bytes: u64,
}

impl Connection {
    /// Notes the scale of the windows that this end offers, as its SYN says it; none if that has none that is read.
    #[inline(always)]
    pub fn note_scale(&mut self, scale: Option<u8>) {
        let scale = match scale {
            Some(scale) if scale < LARGEST_SCALE => scale + 1,
            Some(_) => LARGEST_SCALE + 1,
            None => 0,
        };
        // A listener's are those of many connections, of which each has a copy: the largest is too large for none.
        if scale > self.scale || !matches!(self.stage, Stage::Listening) {
            self.scale = scale;
        }
    }

    /// Notes the window that the handshake offered, at most: behind it, a connection expects this number.
    #[inline(always)]
    pub fn note_first_window(&mut self, received: u32) {
        self.pending.allowed = received.wrapping_add(LARGEST_FIRST_WINDOW);
    }

    /// Notes the window that this end offers with a segment that it sends.
    #[inline(always)]
    pub fn note_window(&mut self, acknowledged: u32, window: u16) {
        let scale = if self.scale == 0 { LARGEST_SCALE } else { self.scale - 1 };
        self.pending.allowed = acknowledged.wrapping_add(u32::from(window) << (scale & 15));
    }

    #[inline(always)]
    const fn received_and_sent(&self, received: Side) -> (&Flow, &Flow) {
        match received {
            Side::Request => (&self.request, &self.response),
            Side::Response => (&self.response, &self.request),
        }
    }

    /// Whether a received segment is to be looked at more closely: one that follows what has come, says nothing but data,
    /// and acknowledges what is under way, is not.
    ///
    /// By arithmetic, since each comparison would be another way through the program for the verifier to follow.
    #[inline(always)]
    #[must_use]
    pub fn doubts(&self, received: &Received) -> bool {
        let (own, other) = self.received_and_sent(received.side);
        let ahead = own.high.wrapping_sub(received.sequence) >> 31;
        let unusual = other.high.wrapping_sub(received.acknowledged) >> USUAL;
        let remarkable = u32::from((received.flags ^ ACK) & (ACK | SYN | RST | FIN));
        ahead | unusual | remarkable != 0
    }

    /// Whether TCP takes anything of a segment that an established connection has received.
    #[inline(always)]
    #[must_use]
    pub fn takes(&self, received: &Received, numbers: &Numbers) -> bool {
        let has = |flag: u8| received.flags & flag != 0;
        let (own, other) = self.received_and_sent(received.side);
        if has(ACK) {
            // What is on its way may be acknowledged before the kernel notes that it is: there its packet has been seen, of
            // which a FIN takes a number of its own.
            let ended = i32::from(self.has_ended(received.side.opposite()));
            let unsent = distance(numbers.sent, received.acknowledged) > 0
                && distance(other.high, received.acknowledged) > ended;
            // What was acknowledged so long ago cannot have been under way since.
            let past = distance(received.acknowledged, numbers.acknowledged);
            if unsent || past > 0 && u64::from(past.unsigned_abs()) > numbers.acknowledged_bytes {
                return false;
            }
        } else if !has(RST) {
            return false;
        }
        let ahead = distance(own.high, received.sequence);
        if has(SYN) {
            // Of the handshake, once more.
            return received.length == 0 && !has(FIN) && ahead <= 0;
        }
        if has(RST) {
            // Exactly where the stream has come to: as far as TCP has looked at it, or as far as it has been seen here, a FIN
            // with it.
            return received.sequence == numbers.received || own.seen && (ahead == 0 || ahead == 1);
        }
        let end = received.sequence.wrapping_add(received.length);
        if has(FIN) && own.seen && distance(own.high, end) < 0 {
            // There was more behind this end.
            return false;
        }
        let allowed = match self.pending.allowed {
            0 => numbers.received.wrapping_add(LARGEST_WINDOW),
            allowed => allowed,
        };
        distance(allowed, received.sequence) <= 0
    }
}
