//! The engine of the kernel side, run over captured segments as `probe-ebpf`'s `socket_traffic` and `socket_state` run
//! it. All that this command knows of the engine is here.

use probe_common::{
    connection::{self, Connection, Segment, Side, Stage},
    deliveries,
    exchange::ABORTED,
    flow::{Flow, Part},
    http1::{self, Extent},
    pending,
    protocol::Protocol,
    reason::Reason,
    sequence::distance,
    window::{CARRY, Payload, READ, SIZE, Unreadable, Window},
};

use super::{
    cut::completed,
    routes::{self, Routes, Waiting},
    tally::{self, Lasted, Tally},
    tcp,
    watch::Ended,
};

/// The most lines and jumps that are read in a segment, as in the kernel.
const STEPS: u32 = 32_768;

/// Sequence numbers of the first bytes from the client and from the server, as far as the handshake was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirstBytes {
    pub(super) request: Option<u32>,
    pub(super) response: Option<u32>,
}

/// What a segment brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Bytes of the stream that are new.
    pub(super) fresh: u64,
    /// 1 if it bears nothing but what was seen before.
    pub(super) again: u64,
}

/// A connection as the engine sees it.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    connection: Connection,
    routes: Routes,
    waiting: Waiting,
    /// Requests that have ended, until somebody takes them.
    ended: Vec<Ended>,
}

impl Conversation {
    /// One whose handshake is in the capture, or a part of it.
    pub(super) fn opened(first: FirstBytes, routes: Routes) -> Self {
        let connection = Connection { stage: Stage::Open, ..Connection::default() };
        let mut conversation = Self::with(&connection, routes);
        conversation.begin(first);
        conversation
    }

    /// More of its handshake was seen.
    pub(super) fn begin(&mut self, first: FirstBytes) {
        let connection = &mut self.connection;
        for (flow, first) in
            [(&mut connection.request, first.request), (&mut connection.response, first.response)]
        {
            if let Some(first) = first
                && !flow.synced
            {
                flow.begin_at(first);
            }
        }
    }

    /// One that is older than the capture, with what was overheard of it until it was known who is the server.
    pub(super) fn joined(request: Overheard, response: Overheard, routes: Routes) -> Self {
        let connection = Connection {
            stage: Stage::Joined,
            request: request.0,
            response: response.0,
            ..Connection::default()
        };
        Self::with(&connection, routes)
    }

    fn with(connection: &Connection, routes: Routes) -> Self {
        Self { connection: *connection, routes, waiting: Waiting::default(), ended: Vec::new() }
    }

    /// What it speaks.
    pub(super) fn protocol(&self) -> Protocol {
        self.connection.protocol
    }

    /// Requests that wait for their answers.
    pub(super) fn in_flight(&self) -> u64 {
        u64::from(self.connection.pending.waiting())
    }

    /// Counts those, and what is known of them, where the capture ends.
    pub(super) fn wait(&self, now: u64, tally: &mut Tally) {
        let Connection { mut pending, response, .. } = self.connection;
        tally.in_flight += self.in_flight();
        // Of the first one only: answers come in their order.
        let mut status = Some(response.status).filter(|status| *status != 0);
        while let Some(request) = pending.first(now) {
            pending.pop(request.started);
            let kept = self.waiting.of(pending.route_of_removed());
            let route = (self.routes == Routes::Counted).then(|| routes::name(kept));
            let kind = tally::Waiting { route, method: request.method, status: status.take() };
            let oldest = kept.map_or(request.started, |kept| kept.began);
            tally.waits(kind, tally::Waited { count: 1, oldest });
        }
    }

    /// The requests that have ended since this was asked last.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Takes a segment, and counts what it brings to an end.
    pub(super) fn hear(
        &mut self,
        side: Side,
        captured: &tcp::Segment<'_>,
        now: u64,
        window: &mut Window,
        tally: &mut Tally,
    ) -> Heard {
        let segment = Segment {
            side,
            sequence: captured.first(),
            length: captured.length,
            acknowledged: captured.acknowledged,
            fin: captured.fin,
        };
        let accepted = self.connection.accept(&segment);
        if accepted.lost {
            tally.escaped(Reason::HeadLost);
        }
        if self.connection.delivers(&segment) {
            self.deliver(captured.acknowledged.unwrap_or_default(), now, tally);
        }
        if accepted.due {
            self.read(&segment, captured.payload, now, window, tally);
        }
        Heard { fresh: u64::from(accepted.fresh), again: u64::from(accepted.again) }
    }

    /// Counts the answers that the client has now acknowledged to their last byte.
    fn deliver(&mut self, acknowledged: u32, now: u64, tally: &mut Tally) {
        for _ in 0..deliveries::DEPTH {
            let Some(delivery) = self.connection.deliver(acknowledged) else { return };
            tally.delivery.add_from(delivery.began, now, u64::from(delivery.answers));
        }
    }

    fn read(&mut self, segment: &Segment, bytes: &[u8], now: u64, window: &mut Window, tally: &mut Tally) {
        let whole = bytes.len() >= segment.length as usize;
        window.clear();
        for _ in 0..STEPS {
            let step = if whole {
                self.connection.step(segment, now, window, bytes)
            } else {
                self.step_on_cut(segment, bytes, now, window)
            };
            // One that ends and one that begins in the same step: the first makes room.
            self.note(&step, now, tally);
            if step.began {
                let began = self.connection.last_request;
                self.waiting.begin(began, self.routes, window, &mut self.connection.pending);
            }
            if !step.more {
                return;
            }
        }
        tally.escaped(Reason::PacketTooDense);
    }

    /// A step on a segment whose end was cut away when it was captured.
    ///
    /// The engine reads by the half kilobyte, so it is given zeros behind the cut. Lines that end before it are read as
    /// they are; where a step went on behind it, it is undone, and done again with nothing that could be read.
    fn step_on_cut(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        now: u64,
        window: &mut Window,
    ) -> connection::Step {
        let before = self.connection;
        let flow = self.connection.flow(segment.side);
        let reads_lines =
            flow.remaining == 0 && !matches!(flow.part, Part::UntilClose | Part::Lost | Part::Stream);
        // A step that reads a head takes the content behind it, too: only as far as was captured, the rest is for the next one.
        let cut = segment.sequence.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let high = flow.high;
        if reads_lines && distance(flow.cursor, cut) >= 0 {
            flow.high = cut;
        }
        let step = self.connection.step(segment, now, window, &Cut(bytes));
        let flow = self.connection.flow(segment.side);
        flow.high = high;
        let captured = distance(segment.sequence, flow.cursor);
        let behind = captured > 0 && captured.unsigned_abs() as usize > bytes.len();
        if !(reads_lines && behind) {
            return step;
        }
        self.connection = before;
        window.clear();
        if let Some(line) = completed(&before, segment, bytes) {
            return self.step_on_cut(segment, &line, now, window);
        }
        self.connection.step(segment, now, window, &Missing)
    }

    /// The connection is over: what it leaves without an answer is counted as aborted, an answer that ends with it as
    /// complete, and what the client has not acknowledged as escaped.
    pub(super) fn close(&mut self, now: u64, tally: &mut Tally) {
        for _ in 0..pending::DEPTH {
            let step = self.connection.close(now);
            self.note(&step, now, tally);
            if !step.ended {
                break;
            }
        }
        tally.missed(Reason::HeadLost.label(), u64::from(self.connection.missed()));
        tally.missed(Reason::Undelivered.label(), u64::from(self.connection.undelivered()));
    }

    /// The same where a reset ended it.
    pub(super) fn reset(&mut self, now: u64, tally: &mut Tally) {
        self.connection.reset = true;
        self.close(now, tally);
    }

    fn note(&mut self, step: &connection::Step, now: u64, tally: &mut Tally) {
        let kept = match &step.exchange {
            Some(exchange) => self.waiting.end(exchange.route),
            None if step.ended => self.waiting.end(self.connection.pending.route_of_removed()),
            None => None,
        };
        if let Some(exchange) = &step.exchange {
            let began = kept
                .as_ref()
                .map_or_else(|| self.connection.pending.start_of_removed(), |request| request.began);
            let (answered, ended) = if exchange.status == ABORTED {
                (now, now)
            } else {
                (self.connection.response.started, self.connection.response.latest)
            };
            let route = (self.routes == Routes::Counted).then(|| routes::name(kept.as_ref()));
            let lasted = Lasted { began, answered, ended };
            tally.ended(exchange, &lasted, route.clone());
            self.ended.push(Ended { method: exchange.method, status: exchange.status, route, lasted });
        }
        if let Some(reason) = step.unmeasured {
            tally.escaped(reason);
        }
        if step.ended && self.connection.pending.waiting() == 0 {
            self.waiting.clear();
        }
    }
}

/// Payload up to where it was cut, and zeros behind that.
struct Cut<'a>(&'a [u8]);

impl Payload for Cut<'_> {
    fn read(&self, offset: u32, length: u32, to: &mut [u8; SIZE]) -> Result<(), Unreadable> {
        let to = to.get_mut(CARRY..CARRY + length as usize).ok_or(Unreadable)?;
        let there = self.0.get(offset as usize..).unwrap_or_default();
        let (copied, zeroed) = to.split_at_mut(there.len().min(length as usize));
        copied.copy_from_slice(&there[..copied.len()]);
        zeroed.fill(0);
        Ok(())
    }
}

/// Payload that is not there.
struct Missing;

impl Payload for Missing {
    fn read(&self, _offset: u32, _length: u32, _to: &mut [u8; SIZE]) -> Result<(), Unreadable> {
        Err(Unreadable)
    }
}

/// How far a direction has come of which it is not known yet which one it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overheard(Flow);

impl Overheard {
    /// Takes note of a segment.
    pub(super) fn hear(&mut self, captured: &tcp::Segment<'_>) -> Heard {
        let known = self.0.seen;
        let fresh = u64::from(self.0.advance(captured.first(), captured.length));
        Heard { fresh, again: u64::from(known && captured.length > 0 && fresh == 0) }
    }
}

/// What the start of a segment looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A request's first line.
    Request,
    /// A response's first line.
    Response,
    /// Neither.
    Other,
}

impl Opening {
    /// By the same functions that the engine reads first lines with.
    pub(super) fn of(payload: &[u8], window: &mut Window) -> Self {
        window.clear();
        let start = &payload[..payload.len().min(READ)];
        let Ok(length @ 1..) = u32::try_from(start.len()) else { return Self::Other };
        if window.load(start, 0, length).is_err() {
            return Self::Other;
        }
        let (end, extent) = match window.newline(CARRY) {
            Some(newline) if window.byte(newline - 1) == b'\r' => (newline - 1, Extent::Whole),
            Some(newline) => (newline, Extent::Whole),
            None => (window.end(), Extent::Start),
        };
        if http1::request_line(window, CARRY, end, extent).is_some() {
            Self::Request
        } else if http1::status_line(window, CARRY, end).is_some() {
            Self::Response
        } else {
            Self::Other
        }
    }
}
