//! Reading a segment: from one line to the next, over content without looking at it.

use super::{Connection, Segment, Side, Step, outcome::Outcome};
use crate::{
    apart,
    flow::Part,
    http1::Extent,
    reason::Reason,
    sequence::distance,
    skim,
    window::{CARRY, Payload, Window},
};

/// A stretch of a window that is to be read as a line.
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) extent: Extent,
    /// Index behind what the cursor has left behind.
    pub(super) behind: usize,
}

/// What [`Connection::next_line`] found.
enum Found {
    Line(Line),
    /// The segment ended within the line, whose start is kept for the next one.
    Unfinished(Line),
    /// Nothing yet: the window was moved, or the rest of a long line went by.
    Nothing,
    Unreadable,
}

impl Connection {
    /// Reads one line of a segment, or jumps over content. `now` is the segment's time in nanoseconds; `window` was
    /// cleared before the first step of the segment.
    #[inline(always)]
    pub fn step(
        &mut self,
        segment: &Segment,
        now: u64,
        window: &mut Window,
        payload: &(impl Payload + ?Sized),
    ) -> Step {
        let asked = self.pending.asked();
        let by_byte = matches!(segment.side, Side::Request) && self.request.part.by_byte();
        let outcome = if by_byte {
            self.read_byte(segment, window, payload)
        } else {
            self.read(segment, now, window, payload)
        };
        // One place, so that what follows is compiled and verified once.
        let mut step = self.conclude(segment.side, outcome);
        self.settle(segment, &mut step);
        step.began = self.pending.asked() != asked;
        if matches!(segment.side, Side::Response) && self.unasked != 0 {
            let late = self.unasked > 1;
            step.unmeasured = Some(if late { Reason::JoinedLate } else { Reason::UnsolicitedResponse });
            self.unasked = 0;
        }
        step
    }

    #[inline(always)]
    fn read(
        &mut self,
        segment: &Segment,
        now: u64,
        window: &mut Window,
        payload: &(impl Payload + ?Sized),
    ) -> Outcome {
        let flow = self.flow(segment.side);
        if segment.length > 0 {
            // What ends with this segment, or with a later one that brings nothing, ended now.
            flow.latest = now;
        }
        if matches!(flow.part, Part::Lost) {
            // Nothing of it is read. Left here, so that the verifier does not follow what is behind for nothing.
            return Outcome::Nothing;
        }
        let outcome =
            if flow.remaining > 0 { Outcome::Nothing } else { self.read_part(segment, now, window, payload) };
        if matches!(outcome, Outcome::Nothing) { self.jump(segment.side) } else { outcome }
    }

    /// Reads what is not content.
    #[inline(always)]
    fn read_part(
        &mut self,
        segment: &Segment,
        now: u64,
        window: &mut Window,
        payload: &(impl Payload + ?Sized),
    ) -> Outcome {
        let flow = self.flow(segment.side);
        match flow.part {
            Part::UntilClose => {
                if segment.length > 0 {
                    flow.cursor = segment.end();
                }
                if segment.fin { Outcome::Ended } else { Outcome::Nothing }
            }
            Part::Lost | Part::Stream => Outcome::Nothing,
            _ => match self.next_line(segment, now, window, payload) {
                Found::Line(line) => self.line(segment.side, now, window, &line),
                Found::Unfinished(line) => self.unfinished(segment.side, window, &line),
                Found::Nothing => Outcome::Nothing,
                Found::Unreadable => Outcome::Unreadable,
            },
        }
    }

    /// Jumps over content, if that comes next.
    #[inline(always)]
    fn jump(&mut self, side: Side) -> Outcome {
        let flow = self.flow(side);
        if flow.remaining == 0 {
            return Outcome::Nothing;
        }
        // Up to the furthest byte: what came before this segment, but lies behind it, is jumped over as well.
        let left = u64::from(distance(flow.cursor, flow.high).unsigned_abs());
        let taken = if flow.remaining > left { left } else { flow.remaining };
        flow.remaining -= taken;
        flow.cursor = flow.cursor.wrapping_add(taken as u32);
        if flow.remaining > 0 {
            return Outcome::Nothing;
        }
        if matches!(flow.part, Part::Content) {
            return Outcome::Ended;
        }
        flow.part = if matches!(flow.part, Part::Values) { Part::Start } else { Part::ChunkSize };
        Outcome::Nothing
    }

    /// Finds the next line of a segment, and moves the cursor behind it.
    #[inline(always)]
    fn next_line(
        &mut self,
        segment: &Segment,
        now: u64,
        window: &mut Window,
        payload: &(impl Payload + ?Sized),
    ) -> Found {
        let flow = self.flow(segment.side);
        let offset = distance(segment.sequence, flow.cursor).unsigned_abs();
        if offset >= segment.length {
            return Found::Nothing;
        }
        let mut first = window.index_of(offset).unwrap_or(0);
        if first == 0 {
            if window.load(payload, offset, segment.length).is_err() {
                return Found::Unreadable;
            }
            if flow.carried != 0 {
                window.put_carry(&flow.carry);
            }
            first = CARRY;
        }
        if flow.carried == 0 && matches!(flow.part, Part::Start) {
            flow.started = now;
        }
        let first = window.forget(first as u64) as usize;
        let start = window.forget((first - (flow.carried as usize & 63)) as u64) as usize;
        let end = window.end();
        if let Some(newline) = window.newline(first) {
            flow.cursor = flow.cursor.wrapping_add((newline + 1 - first) as u32);
            flow.carried = 0;
            let cut = newline > start && window.byte(newline - 1) == b'\r';
            return Found::Line(Line {
                start,
                end: newline - usize::from(cut),
                extent: Extent::Whole,
                behind: newline + 1,
            });
        }
        if window.more_behind(segment.length) {
            if first != CARRY {
                // The line goes on behind the window, which the next step reads from the line's start.
                window.clear();
                return Found::Nothing;
            }
        } else if end - start <= CARRY {
            flow.cursor = segment.end();
            return Found::Unfinished(Line { start, end, extent: Extent::Start, behind: end });
        }
        flow.cursor = flow.cursor.wrapping_add((end - first) as u32);
        flow.carried = 0;
        if matches!(flow.part, Part::Tail) {
            return Found::Nothing;
        }
        Found::Line(Line { start, end, extent: Extent::Start, behind: end })
    }

    /// Passes over the fields behind a line that frame nothing, and says whether the head's end came behind them: a step that
    /// does both spares another one.
    #[inline(always)]
    pub(super) fn skim(&mut self, side: Side, window: &mut Window, line: &Line) -> bool {
        // Fields that name a client frame nothing.
        let reads_all = matches!(side, Side::Request) && self.by_request();
        let flow = self.flow(side);
        if reads_all
            || matches!(line.extent, Extent::Start)
            || !matches!(flow.part, Part::Fields | Part::Trailer)
        {
            return false;
        }
        let first = window.forget(line.behind as u64) as usize;
        let matters = apart::fields(window, first);
        let (empty, behind) = if matches!(flow.part, Part::Fields) {
            skim::empty_line(window, matters)
        } else {
            (false, matters)
        };
        flow.cursor = flow.cursor.wrapping_add((behind - first) as u32);
        empty
    }

    /// Says whether a segment has more, and where it has not, whether something behind it went by already.
    #[inline(always)]
    pub(super) fn settle(&mut self, segment: &Segment, step: &mut Step) {
        let flow = self.flow(segment.side);
        if matches!(flow.part, Part::Stream | Part::Lost) || !flow.synced {
            return;
        }
        if distance(flow.cursor, segment.end()) > 0 {
            step.more = true;
            return;
        }
        if distance(flow.cursor, flow.high) <= 0 {
            return;
        }
        if flow.remaining > 0 {
            // Content that came too early: one more step takes it, and may end the message.
            step.more = true;
        } else if matches!(flow.part, Part::UntilClose) {
            flow.cursor = flow.high;
        } else {
            let reason = flow.loss();
            flow.lose();
            step.unmeasured = Some(reason);
            self.note_loss(segment.side, reason);
        }
    }
}
