//! Conversations as a person would write them down, cut into segments in every way that TCP may.

extern crate std;

use std::{format, string::String, vec, vec::Vec};

use super::*;
use crate::exchange::{ABORTED, CANCELLED, Ending, code_of};
use crate::window::{Payload, SIZE, Unreadable, Window};

mod disorder;
mod escaped;
mod framing;
mod left;
mod liberal;
mod properties;
mod proxied;
mod times;
mod unasked;
mod validity;

/// First sequence numbers, so that both directions wrap within a conversation.
const REQUEST_AT: u32 = u32::MAX - 20;
const RESPONSE_AT: u32 = u32::MAX - 70;

/// A connection, and what it came to.
struct Conversation {
    connection: Connection,
    window: std::boxed::Box<Window>,
    now: u64,
    sent: [Vec<u8>; 2],
    exchanges: Vec<Exchange>,
    unmeasured: Vec<Reason>,
    fresh: [u64; 2],
    began: u32,
    ended: u32,
    steps: u32,
}

const fn at(side: Side) -> u32 {
    match side {
        Side::Request => REQUEST_AT,
        Side::Response => RESPONSE_AT,
    }
}

impl Conversation {
    /// One that the probe saw begin.
    fn new() -> Self {
        let mut connection = Connection { stage: Stage::Open, ..Connection::default() };
        connection.request.begin_at(REQUEST_AT);
        connection.response.begin_at(RESPONSE_AT);
        Self::with(&connection)
    }

    /// One that was there before.
    fn joined() -> Self {
        Self::with(&Connection { stage: Stage::Joined, ..Connection::default() })
    }

    fn with(connection: &Connection) -> Self {
        Self {
            connection: *connection,
            window: std::boxed::Box::default(),
            now: 1_000,
            sent: [Vec::new(), Vec::new()],
            exchanges: Vec::new(),
            unmeasured: Vec::new(),
            fresh: [0; 2],
            began: 0,
            ended: 0,
            steps: 0,
        }
    }

    /// Sends bytes, a segment for each `mss` of them.
    fn send(&mut self, side: Side, bytes: &[u8], mss: usize) -> &mut Self {
        let start = self.sent[side as usize].len();
        self.sent[side as usize].extend_from_slice(bytes);
        let mut from = start;
        while from < start + bytes.len() {
            let to = (from + mss).min(start + bytes.len());
            self.segment(side, from, to);
            from = to;
        }
        self
    }

    /// Delivers a stretch of what was sent, perhaps once more.
    fn segment(&mut self, side: Side, from: usize, to: usize) {
        let bytes = self.sent[side as usize][from..to].to_vec();
        self.deliver(side, from, &bytes, false);
    }

    fn fin(&mut self, side: Side) -> &mut Self {
        let at = self.sent[side as usize].len();
        self.deliver(side, at, &[], true);
        self
    }

    fn deliver(&mut self, side: Side, offset: usize, bytes: &[u8], fin: bool) {
        self.deliver_with(side, offset, bytes, fin, None);
    }

    /// The same with an acknowledgement of all that the other side has sent.
    fn acknowledge(&mut self, side: Side, bytes: &[u8]) {
        let (start, other) = (self.sent[side as usize].len(), side.opposite());
        self.sent[side as usize].extend_from_slice(bytes);
        let acknowledged = at(other).wrapping_add(self.sent[other as usize].len() as u32);
        self.deliver_with(side, start, bytes, false, Some(acknowledged));
    }

    fn deliver_with(
        &mut self,
        side: Side,
        offset: usize,
        bytes: &[u8],
        fin: bool,
        acknowledged: Option<u32>,
    ) {
        let sequence = at(side).wrapping_add(offset as u32);
        let segment = Segment { side, sequence, length: bytes.len() as u32, acknowledged, fin };
        let accepted = self.connection.accept(&segment);
        self.fresh[side as usize] += u64::from(accepted.fresh);
        self.unmeasured.extend(accepted.lost);
        self.window.clear();
        let mut more = accepted.due;
        while more {
            let step = self.connection.step(&segment, self.now, &mut self.window, bytes);
            more = step.more;
            self.note(step);
        }
    }

    /// Sends so many bytes that the payload's owner does not give out.
    fn unreadable(&mut self, side: Side, length: u32) -> &mut Self {
        struct Missing;
        impl Payload for Missing {
            fn read(&self, _: u32, _: u32, _: &mut [u8; SIZE]) -> Result<(), Unreadable> {
                Err(Unreadable)
            }
        }
        let offset = self.sent[side as usize].len();
        self.sent[side as usize].resize(offset + length as usize, b'?');
        let sequence = at(side).wrapping_add(offset as u32);
        let segment = Segment { side, sequence, length, acknowledged: None, fin: false };
        let mut more = self.connection.accept(&segment).due;
        self.window.clear();
        while more {
            let step = self.connection.step(&segment, self.now, &mut self.window, &Missing);
            more = step.more;
            self.note(step);
        }
        self
    }

    fn note(&mut self, step: Step) {
        self.steps += 1;
        self.began += u32::from(step.began);
        self.ended += u32::from(step.ended);
        self.exchanges.extend(step.exchange);
        self.unmeasured.extend(step.unmeasured);
    }

    fn wait(&mut self, nanoseconds: u64) -> &mut Self {
        self.now += nanoseconds;
        self
    }

    fn ask(&mut self, text: &str) -> &mut Self {
        self.send(Side::Request, text.as_bytes(), usize::MAX >> 1)
    }

    fn answer(&mut self, text: &str) -> &mut Self {
        self.send(Side::Response, text.as_bytes(), usize::MAX >> 1)
    }

    fn close(&mut self) -> &mut Self {
        loop {
            let step = self.connection.close(self.now);
            if step == Step::default() {
                self.unmeasured.extend(self.connection.unrecognised());
                return self;
            }
            self.note(step);
        }
    }

    fn reset(&mut self, side: Side) -> &mut Self {
        self.connection.note_end(side, false, true);
        self
    }

    /// The exchanges so far, as `METHOD status`; nothing may have escaped.
    fn seen(&self) -> Vec<String> {
        assert_eq!(self.unmeasured, [], "something escaped");
        let text = |exchange: &Exchange| {
            let ending = match Ending::of(exchange.status) {
                Ending::Whole => "",
                Ending::CutByServer => " cut by the server",
                Ending::CutByClient => " cut by the client",
            };
            let method = exchange.method.label();
            match code_of(exchange.status) {
                ABORTED => format!("{method} aborted{ending}"),
                CANCELLED => format!("{method} cancelled{ending}"),
                code => format!("{method} {code}{ending}"),
            }
        };
        self.exchanges.iter().map(text).collect()
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
