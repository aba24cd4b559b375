//! Before the first message: a header of the PROXY protocol. Whoever sends it, it is passed over, so that what follows is
//! read as what it is; whom it names is of interest only where the peer is a trusted proxy.

use super::{Connection, Segment, Side, Stage, outcome::Outcome, reading::Line};
use crate::{
    flow::{GUESSED, Part},
    http1::Extent,
    protocol::Protocol,
    proxied::{Counting, Ended, News},
    proxy_protocol::{self, BinaryHeader, BinarySource, TextHeaderStep},
    sequence::distance,
    user::mapped,
    window::{CARRY, Payload, Window},
};

impl Connection {
    /// Whether the client is counted by its requests, each of which may name another one.
    #[inline(always)]
    pub(super) fn by_request(&self) -> bool {
        self.counting as u8 == Counting::ByRequest as u8
    }

    /// Whether a header may come, as far as is known.
    #[inline(always)]
    fn before_messages(&self) -> bool {
        matches!(self.protocol, Protocol::Unknown)
            && !matches!(self.stage, Stage::Joined)
            && self.request.facts & GUESSED == 0
    }

    /// The first line is not that of a request: is it a header?
    #[inline(always)]
    pub(super) fn no_request(&mut self, window: &mut Window, line: &Line) -> Outcome {
        if self.before_messages() {
            if proxy_protocol::is_text(window, line.start, line.end) {
                self.begin_text(window, line);
                return Outcome::Nothing;
            }
            let whole = matches!(line.extent, Extent::Whole);
            if whole && proxy_protocol::is_signature(window, line.start, line.end) {
                self.request.part = Part::Signature;
                return Outcome::Nothing;
            }
        }
        self.not_a_message(Side::Request)
    }

    /// The segment ended within a line that may be a header's; false if it is none.
    #[inline(always)]
    pub(super) fn unfinished_prelude(&mut self, window: &mut Window, line: &Line) -> bool {
        let due = matches!(self.request.part, Part::Start) && self.before_messages();
        if !due || !proxy_protocol::is_text(window, line.start, line.end) {
            return false;
        }
        self.begin_text(window, line);
        if matches!(self.request.part, Part::Start) {
            self.request.after = Part::Start;
            self.request.part = Part::Tail;
        }
        true
    }

    /// A header of version 1: it is read from its second word on where somebody wants to know, or passed over as a line.
    #[inline(always)]
    fn begin_text(&mut self, window: &mut Window, line: &Line) {
        if self.by_request() {
            window.proxied.begin_text();
            self.read_bytes(Part::Text, line, line.start + proxy_protocol::KEYWORD);
        }
    }

    /// What follows an index of a line is read a byte at a time. Those bytes lie in this segment, or the line would have been
    /// known before.
    #[inline(always)]
    pub(super) fn read_bytes(&mut self, part: Part, line: &Line, from: usize) {
        let flow = &mut self.request;
        flow.cursor = flow.cursor.wrapping_sub(line.behind.wrapping_sub(from) as u32);
        flow.carried = 0;
        flow.part = part;
    }

    /// The second line of the signature.
    #[inline(always)]
    pub(super) fn signature(&mut self, window: &Window, line: &Line) -> Outcome {
        self.request.part = Part::Start;
        if !proxy_protocol::ends_signature(window, line.start, line.end) {
            return self.not_a_message(Side::Request);
        }
        self.request.part = Part::Binary;
        self.request.length = 0;
        self.request.status = 0;
        Outcome::Nothing
    }

    /// Reads a byte of a part that is read so: beside the reading of lines, so that the verifier need not follow either behind
    /// the other. What it calls are functions of their own that return nothing: behind each there
    /// is one state.
    #[inline(always)]
    pub(super) fn read_byte(
        &mut self,
        segment: &Segment,
        window: &mut Window,
        payload: &(impl Payload + ?Sized),
    ) -> Outcome {
        let flow = &mut self.request;
        let offset = distance(segment.sequence, flow.cursor).unsigned_abs();
        if offset >= segment.length {
            return Outcome::Nothing;
        }
        let mut index = window.index_of(offset).unwrap_or(0);
        if index == 0 {
            if window.load(payload, offset, segment.length).is_err() {
                return Outcome::Unreadable;
            }
            index = CARRY;
        }
        let index = window.forget(index as u64) as usize;
        flow.cursor = flow.cursor.wrapping_add(1);
        let byte = window.byte(index);
        match self.request.part {
            Part::Binary => self.binary_byte(window, byte),
            Part::Source => self.source_byte(window, byte),
            Part::Text => self.text_byte(window, byte),
            _ => self.value_byte(window, byte),
        }
        if !matches!(window.proxied.ended, Ended::None) {
            window.proxied.conclude();
            window.proxied.begin_element();
        }
        Outcome::Nothing
    }

    /// One of the four bytes behind the signature.
    #[inline(never)]
    fn binary_byte(&mut self, window: &mut Window, byte: u8) {
        let by_request = self.by_request();
        let flow = &mut self.request;
        let at = flow.status & 3;
        flow.length |= u64::from(byte) << (8 * at);
        flow.status = at + 1;
        if at < 3 {
            return;
        }
        let header = BinaryHeader::of(flow.length as u32);
        flow.length = u64::from(header.length);
        flow.status = 0;
        if by_request {
            match header.source {
                BinarySource::Ipv4 => flow.status = 4,
                BinarySource::Ipv6 => flow.status = 16,
                BinarySource::Itself => {}
                BinarySource::Malformed => window.proxied.news = News::Unreadable,
            }
        }
        if flow.status == 0 {
            self.pass_over_values();
        } else {
            flow.length -= u64::from(flow.status);
            flow.part = Part::Source;
            window.proxied.hop = mapped([0; 4]);
        }
    }

    /// A byte of the source's address. The status of a request is none: here it says how many are left.
    #[inline(always)]
    fn source_byte(&mut self, window: &mut Window, byte: u8) {
        let left = self.request.status;
        window.proxied.hop[(16_u16.wrapping_sub(left) & 15) as usize] = byte;
        self.request.status = left.wrapping_sub(1);
        if left <= 1 {
            window.proxied.news = News::Named;
            self.pass_over_values();
        }
    }

    /// The rest of a header of version 2 is passed over.
    #[inline(always)]
    fn pass_over_values(&mut self) {
        let flow = &mut self.request;
        flow.status = 0;
        flow.remaining = flow.length & 0xffff;
        flow.part = if flow.remaining > 0 { Part::Values } else { Part::Start };
    }

    /// A byte of a header of version 1.
    #[inline(never)]
    fn text_byte(&mut self, window: &mut Window, byte: u8) {
        let news = match window.proxied.text.eat(byte) {
            TextHeaderStep::More => return,
            TextHeaderStep::Source => {
                window.proxied.ended = Ended::Source;
                News::None
            }
            TextHeaderStep::Unknown => News::None,
            TextHeaderStep::Malformed => News::Unreadable,
        };
        window.proxied.news = news;
        // The rest of the line is of no interest.
        self.request.after = Part::Start;
        self.request.part = if byte == b'\n' { Part::Start } else { Part::Tail };
    }
}
