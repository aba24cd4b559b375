//! What went by unread, and where reading goes on behind it.

use super::{Connection, Segment, Side, Stage};
use crate::{
    flow::{GUESSED, Part},
    protocol::Protocol,
    reason::Reason,
    sequence::distance,
};

impl Connection {
    /// Takes note of what a segment acknowledges: what the other direction's cursor still waits for was received, and will
    /// not come again. It went by where nobody looked, as the segment that makes a connection of a handshake whose last
    /// word was lost, out of order. Says what was lost that way, if it was no content.
    #[inline(always)]
    pub(super) fn give_up_waiting(&mut self, segment: &Segment) -> Option<Reason> {
        let (Some(acknowledged), side) = (segment.acknowledged, segment.side.opposite()) else {
            return None;
        };
        // A FIN is acknowledged like a byte.
        if self.has_ended(side) {
            return None;
        }
        let flow = self.flow(side);
        if !flow.synced || matches!(flow.part, Part::Lost | Part::Stream | Part::UntilClose) {
            return None;
        }
        let gap = distance(flow.cursor, acknowledged);
        // Content is jumped over in any case.
        if gap <= 0 || u64::from(gap.unsigned_abs()) <= flow.remaining {
            return None;
        }
        let reason = flow.loss();
        flow.lose();
        flow.cursor = acknowledged;
        self.note_loss(side, reason);
        Some(reason)
    }

    /// Notes that something has been told of a message.
    #[inline(always)]
    pub(super) fn note_loss(&mut self, side: Side, reason: Reason) {
        if matches!(side, Side::Request) && !matches!(reason, Reason::EndLost) {
            self.unread = self.unread.saturating_add(1);
        }
    }

    /// Whether a segment of a direction whose place in the conversation is not known is to be read.
    #[inline(always)]
    pub(super) fn resynchronise(&mut self, segment: &Segment, fresh: u32) -> bool {
        let answerable = self.pending.waiting() > 0;
        let answer_lost = matches!(self.response.part, Part::Lost);
        let lost = matches!(self.flow(segment.side).part, Part::Lost);
        let speaks = matches!(self.protocol, Protocol::Http1);
        let joined = matches!(self.stage, Stage::Joined);
        // A request starts a segment when nothing is in flight, or when the answer has come and its end went by; an
        // answer, when one is due, or when nothing is known.
        let due = match segment.side {
            Side::Request => fresh > 0 && !(lost && answerable && !answer_lost),
            Side::Response => {
                if lost {
                    // Only its end, and the time of that, are to be had.
                    return speaks && fresh > 0;
                }
                answerable || joined && !speaks && fresh > 0
            }
        };
        if !due {
            return false;
        }
        let flow = self.flow(segment.side);
        flow.next_message();
        flow.synced = true;
        // An answer that was joined late may be in its midst.
        let guessed = if lost { speaks || !joined } else { speaks && matches!(segment.side, Side::Response) };
        if guessed {
            flow.facts = GUESSED;
        }
        flow.cursor = if lost && speaks {
            // All that was seen has been answered: the request begins behind it, and where this segment is further on,
            // that one is yet to come.
            flow.behind(flow.high.wrapping_sub(fresh))
        } else {
            segment.sequence
        };
        distance(flow.cursor, segment.sequence) <= 0
    }
}
