//! What a line means: where messages begin and end (RFC 9112), and which answer belongs to which request.

use super::{ATTEMPTS, Connection, Side, Stage, Step, ending::Answer, outcome::Outcome, reading::Line};
use crate::{
    apart,
    flow::{BAD, CHUNKED, EXPECTS, Flow, GUESSED, HAS_LENGTH, Part, UNASKED},
    http1::{self, Extent, Field, LENGTH_NAME},
    pending::{Place, Request},
    protocol::{Method, Protocol},
    proxied::{Counting, News},
    reason::Reason,
    window::Window,
};

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
        // What ends a message, or can not be read, has no fields behind it; nor has what is to be read on.
        let open = matches!(outcome, Outcome::Nothing | Outcome::Began | Outcome::Turned | Outcome::TooDeep)
            && self.flow(side).carried == 0;
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
        // Whether a connection that was joined late is at the start of a message is a guess, as is where an answer begins behind a
        // loss: no line is kept that does not look like one.
        let flow = self.flow(side);
        let (part, facts) = (flow.part, flow.facts);
        let joined = matches!(self.stage, Stage::Joined) && matches!(self.protocol, Protocol::Unknown);
        let (guess, plausible) = match side {
            Side::Request => (joined, http1::begins_request(window, line.start, line.end)),
            Side::Response => {
                let short = line.end - line.start < 8;
                let guess = facts & GUESSED != 0 && matches!(part, Part::Start);
                (joined || guess, short || http1::begins_response(window, line.start))
            }
        };
        if guess && !plausible {
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
        let method = apart::request_line(window, line.start, line.end, line.extent);
        // The end of `OPTIONS` would do for a method that nobody knows.
        let guessed = self.request.facts & GUESSED != 0;
        let accepted = method.filter(|method| !guessed || *method as u8 != Method::Other as u8);
        let Some(method) = accepted else {
            return self.no_request(window, line);
        };
        if self.by_request() {
            window.proxied.begin_head();
        }
        if matches!(self.protocol, Protocol::Unknown) && !self.response.synced {
            // What was said before, if anything was, has been passed over.
            self.response.part = Part::Start;
        }
        self.request.facts = 0;
        self.protocol = Protocol::Http1;
        self.attempts = 0;
        self.request.part = Part::Fields;
        self.last_request = self.request.started;
        match self.pending.push(Request { started: self.request.started, method }) {
            Place::Own => {}
            Place::Shared => {
                self.last_request = self.pending.start_of_last(self.request.started);
                return Outcome::TooDeep;
            }
            Place::None => return Outcome::TooDeep,
        }
        let open_ended = matches!(self.response.part, Part::UntilClose | Part::Lost);
        if open_ended { Outcome::Turned } else { Outcome::Began }
    }

    #[inline(always)]
    fn response_start(&mut self, window: &mut Window, line: &Line) -> Outcome {
        let Some(status) = http1::status_line(window, line.start, line.end) else {
            return self.not_a_message(Side::Response);
        };
        if self.pending.waiting() == 0 {
            self.begin_unasked();
        }
        self.protocol = Protocol::Http1;
        self.response.status = status;
        self.response.part = Part::Fields;
        Outcome::Nothing
    }

    /// An answer begins that nothing waits for.
    #[inline(always)]
    fn begin_unasked(&mut self) {
        let joined = matches!(self.stage, Stage::Joined);
        let midst = joined && matches!(self.protocol, Protocol::Unknown);
        let malformed = self.attempts > 0 && !midst && self.unread == 0;
        self.attempts = 0;
        if malformed {
            // Of what the server makes a request of, it is one, whatever it looks like.
            let request = Request { started: self.last_request, method: Method::Other };
            if !matches!(self.pending.push(request), Place::None) {
                self.last_request = self.pending.start_of_last(self.last_request);
                return;
            }
        }
        self.response.facts |= UNASKED;
        if self.unread > 0 {
            self.unread -= 1;
        } else {
            self.unasked = 1 + u8::from(joined && self.pending.asked() == 0);
        }
    }

    /// What should have been a message's first line is something else.
    #[inline(always)]
    pub(super) fn not_a_message(&mut self, side: Side) -> Outcome {
        let joined = matches!(self.stage, Stage::Joined);
        let speaks = !matches!(self.protocol, Protocol::Unknown);
        let flow = self.flow(side);
        let guessed = flow.facts & GUESSED != 0;
        if speaks && guessed {
            // What was lost has been told, or will be when the request that it answers ends.
            flow.part = Part::Lost;
            return Outcome::Nothing;
        }
        match side {
            Side::Response if speaks => return Outcome::Misframed,
            Side::Response if joined || guessed => {
                // In the midst of a message. Behind what the client says next may be another one.
                flow.synced = false;
                flow.part = Part::Lost;
                return Outcome::Nothing;
            }
            Side::Request if speaks || self.attempts < ATTEMPTS => {
                // In the midst of a message, or malformed: the answer tells, and the next segment may begin one.
                if self.attempts == 0 {
                    self.last_request = self.request.started;
                }
                self.attempts = if speaks { 1 } else { self.attempts + 1 };
                self.request.synced = speaks;
                self.request.part = Part::Lost;
                if joined && !speaks {
                    self.response.part = Part::Start;
                }
                return Outcome::Nothing;
            }
            _ => {}
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
            Some(request) if self.response.facts & UNASKED == 0 => request.method,
            _ => Method::Other,
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
            flow.length = 0;
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
            Outcome::Nothing | Outcome::Headed | Outcome::Began => return Step::default(),
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
        let Flow { status, started, facts, .. } = self.response;
        let answer = Answer { status, first: started, last: at, facts };
        self.response.next_message();
        if switched {
            self.request.part = Part::Stream;
            self.response.part = Part::Stream;
        }
        if matches!(side, Side::Request) {
            // Where requests were pipelined, what comes next may be in the midst of an answer.
            self.response.facts = GUESSED;
        }
        self.answered(&answer)
    }

    /// The rest of a message is not read.
    #[inline(always)]
    fn lose(&mut self, side: Side, reason: Reason) -> Step {
        let flow = self.flow(side);
        let (loss, unasked) = (flow.loss(), flow.facts & UNASKED != 0);
        flow.lose();
        self.note_loss(side, loss);
        // One that nothing waited for has been told.
        Step { unmeasured: if unasked { None } else { Some(reason) }, ..Step::default() }
    }
}

/// A line of a head's fields.
#[inline(always)]
fn field(flow: &mut Flow, window: &mut Window, line: &Line) -> Outcome {
    match apart::field(window, line.start, line.end, line.extent) {
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
        Field::Expect => flow.facts |= EXPECTS,
        Field::Unfinished(value, to) => {
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
            flow.length = size;
            // The line ending behind the content is jumped over with it.
            flow.remaining = size + 2;
            flow.part = Part::Chunk;
        }
        None => return Outcome::Misframed,
    }
    Outcome::Nothing
}
