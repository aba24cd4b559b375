//! What a line means: where messages begin and end (RFC 9112), and which answer belongs to which request.

use super::{ATTEMPTS, Connection, Side, Stage, Step, outcome::Outcome, reading::Line};
use crate::{
    deliveries,
    exchange::{ABORTED, CANCELLED, Ending, Exchange},
    flow::{BAD, CHUNKED, Flow, GUESSED, HAS_LENGTH, Part},
    http1::{self, Extent, Field, LENGTH_NAME},
    pending::Request,
    protocol::{Method, Protocol},
    proxied::{Counting, News},
    reason::Reason,
    service::Role,
    window::Window,
};

/// An answer that has ended.
struct Answer {
    status: u16,
    first: u64,
    last: u64,
}

impl Connection {
    /// Reads a line: all of it, or the start of one that is too long.
    #[inline(always)]
    pub(super) fn line(&mut self, side: Side, now: u64, window: &mut Window, line: &Line) -> Outcome {
        let empty = line.start == line.end;
        let outcome = match self.flow(side).part {
            // Empty lines before a message are to be ignored (RFC 9112, section 2.2).
            Part::Start if empty => Outcome::Nothing,
            Part::Start => match side {
                Side::Request => self.request_start(window, line),
                Side::Response => self.response_start(window, line),
            },
            Part::Fields => {
                if matches!(side, Side::Request) && self.by_request() && self.begins_value(window, line) {
                    return Outcome::Nothing;
                }
                field(self.flow(side), window, line)
            }
            Part::Signature if matches!(side, Side::Request) => self.signature(window, line),
            Part::Tail => {
                let flow = self.flow(side);
                flow.part = flow.after;
                return Outcome::Nothing;
            }
            Part::ChunkSize => chunk(self.flow(side), window, line),
            Part::Trailer if empty => Outcome::Ended,
            _ => Outcome::Nothing,
        };
        let outcome = outcome.forget(window);
        // What ends a message, or can not be read, has no fields behind it.
        let open = matches!(outcome, Outcome::Nothing | Outcome::Began | Outcome::Turned | Outcome::TooDeep);
        if matches!(outcome, Outcome::Headed) || open && self.skim(side, window, line) {
            if matches!(side, Side::Request) {
                // Of no meaning where the client is known.
                window.proxied.news = News::Asked;
            }
            if matches!(outcome, Outcome::Headed | Outcome::Nothing) {
                return self.head_end(side, now);
            }
            // A request of one line and fields that frame nothing.
            self.request.next_message();
            return outcome;
        }
        let flow = self.flow(side);
        let read_on = (matches!(side, Side::Request) && flow.part.by_byte())
            || matches!(flow.part, Part::Lost | Part::Stream)
            || flow.carried != 0;
        if matches!(line.extent, Extent::Start) && !read_on {
            flow.after = flow.part;
            flow.part = Part::Tail;
        }
        outcome
    }

    /// The segment ended within a line that is short so far.
    #[inline(always)]
    pub(super) fn unfinished(&mut self, side: Side, window: &mut Window, line: &Line) -> Outcome {
        // Whether a connection that was joined late is at the start of a message is a guess: no line is kept that
        // does not look like one.
        let guess = matches!(self.stage, Stage::Joined) && matches!(self.protocol, Protocol::Unknown);
        if guess && !http1::begins_request(window, line.start) {
            return self.not_a_message(side);
        }
        if matches!(side, Side::Request) && self.goes_on_by_byte(window, line) {
            return Outcome::Nothing;
        }
        let flow = self.flow(side);
        window.take_carry(line.end, &mut flow.carry);
        flow.carried = (line.end - line.start) as u8;
        Outcome::Nothing
    }

    /// Whether the rest of a line that is not all there is read a byte at a time, and none of it kept.
    #[inline(always)]
    fn goes_on_by_byte(&mut self, window: &mut Window, line: &Line) -> bool {
        if matches!(self.request.part, Part::Fields) && self.by_request() {
            return self.begins_value(window, line);
        }
        self.unfinished_prelude(window, line)
    }

    #[inline(always)]
    fn request_start(&mut self, window: &mut Window, line: &Line) -> Outcome {
        // Whoever counts routes gives the request one behind this step.
        window.note_line(line.start, line.end);
        let method = http1::request_line(window, line.start, line.end, line.extent);
        // The end of `OPTIONS` would do for a method that nobody knows.
        let guessed = self.request.facts & GUESSED != 0;
        let believed = method.filter(|method| !guessed || *method as u8 != Method::Other as u8);
        let Some(method) = believed else {
            return self.no_request(window, line);
        };
        if self.by_request() {
            window.proxied.begin_head();
        }
        self.request.facts = 0;
        self.protocol = Protocol::Http1;
        self.attempts = 0;
        self.request.part = Part::Fields;
        self.last_request = self.request.started;
        if !self.pending.push(Request { started: self.request.started, method }) {
            return Outcome::TooDeep;
        }
        let open_ended = matches!(self.response.part, Part::UntilClose | Part::Lost);
        if open_ended { Outcome::Turned } else { Outcome::Began }
    }

    #[inline(always)]
    fn response_start(&mut self, window: &mut Window, line: &Line) -> Outcome {
        let status = http1::status_line(window, line.start, line.end);
        // A server that speaks first speaks another protocol.
        let Some(status) = status.filter(|_| !matches!(self.protocol, Protocol::Unknown)) else {
            return self.not_a_message(Side::Response);
        };
        self.response.status = status;
        self.response.part = Part::Fields;
        Outcome::Nothing
    }

    /// What should have been a message's first line is something else.
    #[inline(always)]
    pub(super) fn not_a_message(&mut self, side: Side) -> Outcome {
        if !matches!(self.protocol, Protocol::Unknown) {
            let flow = self.flow(side);
            if flow.facts & GUESSED == 0 {
                return Outcome::Misframed;
            }
            // What was lost has been told.
            flow.part = Part::Lost;
            return Outcome::Nothing;
        }
        let guessed = matches!(self.stage, Stage::Joined) || self.flow(side).facts & GUESSED != 0;
        if guessed && self.attempts < ATTEMPTS {
            // In the midst of a message: the next segment may begin one.
            self.attempts += 1;
            let flow = self.flow(side);
            flow.synced = false;
            flow.part = Part::Lost;
            return Outcome::Nothing;
        }
        self.protocol = Protocol::Opaque;
        if self.by_request() {
            // There will be none.
            self.counting = Counting::Connected;
        }
        self.request.part = Part::Stream;
        self.response.part = Part::Stream;
        Outcome::Opaque
    }

    /// The head is complete: what frames the content (RFC 9112, section 6.3)?
    #[inline(always)]
    fn head_end(&mut self, side: Side, now: u64) -> Outcome {
        let method = match self.pending.first(now) {
            Some(request) => request.method,
            None => Method::Other,
        };
        let response = matches!(side, Side::Response);
        let flow = self.flow(side);
        if flow.facts & BAD != 0 {
            return Outcome::Misframed;
        }
        let mut empty = false;
        if response {
            let (status, class) = (flow.status, flow.status / 100);
            if status == 101 || (matches!(method, Method::Connect) && class == 2) {
                return Outcome::Switched;
            }
            if class == 1 {
                // An interim response: the one that counts is still to come.
                flow.next_message();
                return Outcome::Nothing;
            }
            empty = matches!(method, Method::Head) || status == 204 || status == 304;
        }
        if empty {
            return Outcome::Ended;
        }
        if flow.facts & CHUNKED != 0 {
            flow.part = Part::ChunkSize;
        } else if flow.facts & HAS_LENGTH != 0 && flow.length > 0 {
            flow.part = Part::Content;
            flow.remaining = flow.length;
        } else if response && flow.facts & HAS_LENGTH == 0 {
            flow.part = Part::UntilClose;
        } else {
            return Outcome::Ended;
        }
        Outcome::Nothing
    }

    /// Draws the consequences.
    #[inline(always)]
    pub(super) fn conclude(&mut self, side: Side, outcome: Outcome) -> Step {
        let (at, switched) = match outcome {
            Outcome::Nothing | Outcome::Headed => return Step::default(),
            Outcome::Began => return Step { began: true, ..Step::default() },
            Outcome::Unreadable => return self.lose(side, Reason::Unreadable),
            Outcome::Misframed => return self.lose(side, Reason::BadFraming),
            Outcome::TooDeep => {
                return Step { unmeasured: Some(Reason::PipelineTooDeep), ..Step::default() };
            }
            Outcome::Opaque => {
                return Step { unmeasured: Some(Reason::OpaqueProtocol), ..Step::default() };
            }
            Outcome::Ended if matches!(side, Side::Request) => {
                self.request.next_message();
                return Step::default();
            }
            Outcome::Ended => (self.response.latest, false),
            Outcome::Switched => (self.response.latest, true),
            Outcome::Turned => {
                // Nobody asks again before the whole answer is there: the next one begins behind it.
                self.response.cursor = self.response.behind(self.response.high);
                self.response.synced = self.response.seen;
                (self.response.latest, false)
            }
        };
        let answer = Answer { status: self.response.status, first: self.response.started, last: at };
        self.response.next_message();
        if switched {
            self.request.part = Part::Stream;
            self.response.part = Part::Stream;
        }
        // Whoever turns the conversation has begun a request.
        Step { began: matches!(side, Side::Request), ..self.answered(&answer) }
    }

    /// The rest of a message is not read.
    #[inline(always)]
    fn lose(&mut self, side: Side, reason: Reason) -> Step {
        let flow = self.flow(side);
        flow.part = Part::Lost;
        flow.carried = 0;
        flow.remaining = 0;
        Step { unmeasured: Some(reason), ..Step::default() }
    }

    /// The oldest request has had its answer.
    #[inline(always)]
    fn answered(&mut self, answer: &Answer) -> Step {
        let Some(request) = self.pending.first(answer.last) else {
            // One that found no room has been counted when it came.
            let reason = if self.pending.pass() { None } else { Some(Reason::JoinedLate) };
            return Step { unmeasured: reason, ..Step::default() };
        };
        let unread = self.pending.unread_for();
        self.pending.pop(request.started);
        if answer.status == UNSEEN {
            // Not even its first line was read, which has been counted.
            return Step { ended: true, ..Step::default() };
        }
        let first_byte = answer.first.saturating_sub(request.started);
        let exchange = Exchange {
            protocol: self.protocol,
            method: request.method,
            status: match answer.status {
                UNANSWERED if self.client_left() => CANCELLED,
                UNANSWERED => ABORTED,
                status => status,
            },
            first_byte,
            duration: answer.last.saturating_sub(request.started),
            queue: if unread < first_byte { unread } else { first_byte },
            route: self.pending.route_of_removed(),
        };
        let mut unmeasured = None;
        // What was cut short, and what did not come, is not on its way to anybody.
        if answer.status < NO_CODE
            && self.role == Role::Server as u8
            && !self.deliveries.push(answer.first, self.response.cursor)
        {
            unmeasured = Some(Reason::DeliveriesFull);
        }
        Step { exchange: Some(exchange), unmeasured, ended: true, ..Step::default() }
    }

    /// The connection is over. To be called until it returns no exchange: one for each request that got no answer, or none to the
    /// end, by whoever left first. An answer that the server ends with the connection is complete; one whose end was lost is taken
    /// to be where both ends have said farewell.
    #[inline(always)]
    pub fn close(&mut self, now: u64) -> Step {
        let Some(Request { started, .. }) = self.pending.first(now) else {
            return Step::default();
        };
        if self.response.passed_by() {
            // Answers went by behind a gap that nothing filled: whose they were is not known.
            self.pending.pop(started);
            if self.pending.waiting() == 0 {
                self.response.synced = false;
            }
            return Step { unmeasured: Some(Reason::HeadLost), ended: true, ..Step::default() };
        }
        let complete = match self.response.part {
            // Whether a client that says farewell early wants the rest shows in whether it resets what still comes.
            Part::UntilClose => self.ended[1] && !self.is_reset(),
            Part::Lost => self.ended == [true; 2] && !self.is_reset(),
            _ => false,
        };
        let Flow { status, started: first, latest, .. } = self.response;
        let answer = if complete {
            Answer { status, first, last: latest }
        } else if status >= FINAL {
            let ending = if self.client_left() { Ending::CutByClient } else { Ending::CutByServer };
            Answer { status: ending.with(status), first, last: now }
        } else {
            Answer { status: UNANSWERED, first: now, last: now }
        };
        self.response.next_message();
        self.answered(&answer)
    }

    /// In how many directions messages went by behind a gap that nothing filled, and were not told by
    /// [`Connection::close`]: to be asked once, behind it.
    #[inline(always)]
    #[must_use]
    pub fn missed(&self) -> u32 {
        u32::from(self.request.passed_by()) + u32::from(self.response.passed_by())
    }

    /// How many answers the client never acknowledged: to be asked once, when the connection is over.
    #[inline(always)]
    pub fn undelivered(&mut self) -> u32 {
        let mut answers: u32 = 0;
        for _ in 0..deliveries::DEPTH {
            let Some(delivery) = self.deliveries.take_first() else { break };
            answers = answers.wrapping_add(delivery.answers);
        }
        answers
    }
}

/// In place of a status: the answer's first line went by unread.
const UNSEEN: u16 = 0;
/// In place of a status: the connection ended first.
const UNANSWERED: u16 = u16::MAX;
/// No code of a status line is as great: see [`Ending`].
const NO_CODE: u16 = 1000;
/// Statuses below are of interim responses (RFC 9110, section 15.2).
const FINAL: u16 = 200;

/// A line of a head's fields.
#[inline(always)]
fn field(flow: &mut Flow, window: &mut Window, line: &Line) -> Outcome {
    match http1::field(window, line.start, line.end, line.extent) {
        Field::Other => {}
        Field::End => return Outcome::Headed,
        Field::Length(length) => {
            // Two that differ are an attack (RFC 9112, section 6.3).
            if flow.facts & HAS_LENGTH != 0 && flow.length != length {
                flow.facts |= BAD;
            }
            flow.length = length;
            flow.facts |= HAS_LENGTH;
        }
        Field::Chunked => flow.facts |= CHUNKED,
        Field::Unfinished(value, to) => {
            // Without the blanks before it, of which there may be any number.
            window.put_name(value);
            window.take_carry(to, &mut flow.carry);
            flow.carried = (to - value + LENGTH_NAME.len()) as u8;
            flow.cursor = flow.cursor.wrapping_sub(line.behind.wrapping_sub(to) as u32);
        }
        Field::Bad => flow.facts |= BAD,
    }
    Outcome::Nothing
}

/// The first line of a chunk.
#[inline(always)]
fn chunk(flow: &mut Flow, window: &mut Window, line: &Line) -> Outcome {
    match http1::chunk_size(window, line.start, line.end) {
        Some(0) => flow.part = Part::Trailer,
        Some(size) => {
            // The line ending behind the content is jumped over with it.
            flow.remaining = size + 2;
            flow.part = Part::Chunk;
        }
        None => return Outcome::Misframed,
    }
    Outcome::Nothing
}
