//! The engine: what a segment means to a connection.
//!
//! A caller hands over each segment with [`Connection::accept`]; where that says that there is something to read,
//! it calls [`Connection::step`] until that is done, and counts what each step returns. A step reads one line or
//! jumps over content, so that its cost is bounded, and the loop around it is the caller's: `bpf_loop` in a recent
//! kernel, a plain loop elsewhere.

use core::mem::offset_of;

use crate::{
    deliveries::{Deliveries, Delivery},
    exchange::Exchange,
    flow::{Flow, Part},
    pending::Pending,
    protocol::Protocol,
    proxied::Counting,
    reason::Reason,
    sequence::distance,
    service::Role,
};

mod client;
mod ending;
mod gaps;
mod message;
mod outcome;
mod prelude;
mod reading;
#[cfg(test)]
mod tests;
pub mod validity;

pub use client::Told;

/// Where a connection is in its life.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is known yet.
    #[default]
    New = 0,
    /// No connection: a socket that listens.
    Listening = 1,
    /// Asked for, not established.
    Connecting = 2,
    /// Established while the probe was running: sequence numbers are known from the first byte.
    Open = 3,
    /// Established before the probe started.
    Joined = 4,
    /// Over.
    Closed = 5,
}

/// Which direction of a connection: by role, whatever the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From client to server.
    Request,
    /// From server to client.
    Response,
}

impl Side {
    /// What stands for it in the bits of [`FIRST`].
    const fn mark(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Response => 2,
        }
    }

    const fn opposite(self) -> Self {
        match self {
            Self::Request => Self::Response,
            Self::Response => Self::Request,
        }
    }
}

/// A TCP segment, or the segments that the kernel joined in one buffer.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its direction.
    pub side: Side,
    /// Sequence number of the first byte of payload.
    pub sequence: u32,
    /// Bytes of payload.
    pub length: u32,
    /// Sequence number of the other direction up to which it acknowledges; none if it does not.
    pub acknowledged: Option<u32>,
    /// Whether the direction ends behind it.
    pub fin: bool,
}

impl Segment {
    #[inline(always)]
    const fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.length)
    }
}

/// What [`Connection::accept`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Bytes of the stream that are new.
    pub fresh: u32,
    /// Whether [`Connection::step`] is to be called.
    pub due: bool,
    /// Whether the segment bears nothing but what has been seen before.
    pub again: bool,
    /// Why, if it shows that part of a head of the other direction, or of its framing, went by unread.
    pub lost: Option<Reason>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Whether there is more in the segment.
    pub more: bool,
    /// A request that has come to its end.
    pub exchange: Option<Exchange>,
    /// Something that escaped.
    pub unmeasured: Option<Reason>,
    /// Whether a request has begun, at [`Connection::last_request`]: it is in flight from now on.
    pub began: bool,
    /// Whether a request is in flight no more, measured or not: the one of [`Pending::start_of_removed`].
    pub ended: bool,
}

/// Bits of [`Connection::end`] that say which side ended first, by its [`Side::mark`]; none if neither has.
const FIRST: u8 = 0b11;
/// The bit that says that one of them ended by a reset.
const RESET: u8 = 0b100;

/// How many segments of a connection that was joined late are tried for the start of a request before it is taken
/// to speak something else.
const ATTEMPTS: u8 = 16;

/// The state of a connection. All zero is that of a socket that nothing is known of.
///
/// What a client says and what its server answers are often counted on two CPUs, and a cache line that one writes and the
/// other looks at costs as much as all the rest. So the order is by who writes: see [`LINE`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    // Read with every packet, written hardly ever.
    /// The client's address, of a connection that was accepted; the proxy's, of one that is for nobody else. The server's, of
    /// one that was made, where peers are counted.
    pub client: [u8; 16],
    /// Who opened the socket, if the probe saw it.
    pub owner: Owner,
    /// Index of the service.
    pub service: u32,
    /// [`crate::service::Role`]
    pub role: u8,
    /// Where it is in its life.
    pub stage: Stage,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether it has been given its service.
    pub introduced: bool,
    // Written by what the client says.
    /// From client to server.
    pub request: Flow,
    /// 1 while a program is at what has been received: see `hooks/lock.rs` of the kernel side.
    pub lock: u64,
    /// When the last request began.
    pub last_request: u64,
    // Written by both.
    /// When its round-trip time was last counted, in ticks of the kernel's clock (jiffies), as far as there are bits for it.
    pub timed: u16,
    /// By how much the windows that this end offers are scaled, and one more; 0 if that is not known.
    pub scale: u8,
    /// Segments that were tried in vain for the start of a request; once it is known to speak HTTP, whether a request's first line
    /// was malformed, and has had no answer so far.
    pub attempts: u8,
    /// Whether the request's direction has ended, and the response's. A byte for each, since both may end at once, on two CPUs.
    pub ended: [bool; 2],
    /// How its client is counted, of a connection that was accepted.
    pub counting: Counting,
    /// How it ended: see [`Connection::note_end`].
    pub end: u8,
    /// Answers that the client has not acknowledged yet; of a server only.
    pub deliveries: Deliveries,
    // Written by what the server says.
    /// From server to client.
    pub response: Flow,
    // Written by both.
    /// Requests without an answer.
    pub pending: Pending,
    // Read while it is no open connection.
    /// [`crate::service::ServiceEntry::generation`] of its service.
    pub generation: u64,
    // Written where something went wrong.
    /// Requests that went by unread, as far as is known: each has been told, and its answer is not told again.
    pub unread: u8,
    /// Whether an answer that nothing waited for is to be told, and one more if its request is older than the probe.
    pub unasked: u8,
}

/// Bytes that the kernel keeps with each socket's state, before it (`struct bpf_local_storage_elem`).
const KERNELS: usize = 72;

/// A cache line, on which the kernel's part ends 8 bytes behind the start of one.
const LINE: usize = 64;

/// The kernel gives memory out in powers of two.
const _: () =
    assert!(size_of::<Connection>() <= 1024 - KERNELS, "a socket's state has outgrown its kibibyte");

const _: () = {
    let request = KERNELS + offset_of!(Connection, request) + offset_of!(Flow, latest);
    assert!(request.is_multiple_of(LINE), "what is only read shares a line");
    let response = KERNELS + offset_of!(Connection, response) + offset_of!(Flow, remaining);
    assert!(response.is_multiple_of(LINE), "what requests look at of a response lies on two lines");
};

/// Who connected or listened.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner {
    /// Name of the task; empty if the socket is older than the probe.
    pub command: [u8; 16],
    /// Its process.
    pub process: u32,
    /// Its thread: the process itself, if it is the main one.
    pub thread: u32,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            client: [0; 16],
            owner: Owner::default(),
            service: 0,
            role: 0,
            stage: Stage::New,
            protocol: Protocol::Unknown,
            introduced: false,
            request: Flow::default(),
            lock: 0,
            last_request: 0,
            timed: 0,
            scale: 0,
            attempts: 0,
            ended: [false; 2],
            counting: Counting::Connected,
            end: 0,
            deliveries: Deliveries::default(),
            response: Flow::default(),
            pending: Pending::default(),
            generation: 0,
            unread: 0,
            unasked: 0,
        }
    }
}

impl Connection {
    /// One of its directions.
    #[inline(always)]
    pub fn flow(&mut self, side: Side) -> &mut Flow {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    #[inline(always)]
    const fn has_ended(&self, side: Side) -> bool {
        match side {
            Side::Request => self.ended[0],
            Side::Response => self.ended[1],
        }
    }

    /// Takes note of a segment. Cheap where no message begins or ends in it: no byte is read.
    #[inline(always)]
    pub fn accept(&mut self, segment: &Segment) -> Accepted {
        let unread = self.protocol as u8 == Protocol::Opaque as u8;
        let lost = if unread { None } else { self.give_up_waiting(segment) };
        let flow = self.flow(segment.side);
        // Before this segment moves it: what lies between here and there has gone by.
        let known = flow.seen;
        let fresh = flow.advance(segment.sequence, segment.length);
        let again = self.is_again(segment, fresh, known);
        let flow = self.flow(segment.side);
        let nothing = Accepted { fresh, due: false, again, lost };
        let read = Accepted { due: true, ..nothing };
        if unread {
            return nothing;
        }
        let part = flow.part;
        // A FIN that overtook content does not end it: what is missing is still to come.
        if segment.fin && matches!(part, Part::UntilClose) && distance(flow.cursor, segment.sequence) <= 0 {
            return read;
        }
        if segment.length == 0 || matches!(part, Part::Stream) {
            return nothing;
        }
        if !flow.synced || matches!(part, Part::Lost) {
            return Accepted { due: self.resynchronise(segment, fresh), ..nothing };
        }
        let ahead = distance(flow.cursor, segment.end());
        if ahead <= 0 {
            return nothing;
        }
        let ahead = u64::from(ahead.unsigned_abs());
        if flow.remaining > ahead {
            flow.remaining -= ahead;
            flow.cursor = segment.end();
            return nothing;
        }
        if flow.is_overtaken(segment.sequence) {
            // A head, or the start of one, is missing. It is yet to come.
            return nothing;
        }
        read
    }

    /// Whether a segment was seen before: all of its payload, or the end that it marks. One that bears neither is a bare
    /// acknowledgement, which is never sent again.
    #[inline(always)]
    fn is_again(&mut self, segment: &Segment, fresh: u32, known: bool) -> bool {
        let ended_before = self.has_ended(segment.side);
        if segment.fin {
            match segment.side {
                Side::Request => self.ended[0] = true,
                Side::Response => self.ended[1] = true,
            }
        }
        self.note_end(segment.side, segment.fin, false);
        fresh == 0 && (segment.length > 0 && known || segment.fin && ended_before)
    }

    /// Notes that a side has ended, by a FIN or by a reset: who leaves first leaves the other one with what is not done. To be called
    /// with every packet, since a branch around it would have the verifier follow all that comes behind twice: so there is none in it.
    #[inline(always)]
    pub fn note_end(&mut self, side: Side, fin: bool, rst: bool) {
        // 1 where nobody has ended yet.
        let vacant = (self.end & FIRST).wrapping_sub(1) >> 7;
        self.end |= vacant * u8::from(fin | rst) * side.mark();
        self.end |= u8::from(rst) * RESET;
    }

    /// Whether either side has sent a reset.
    #[inline(always)]
    #[must_use]
    pub const fn is_reset(&self) -> bool {
        self.end & RESET != 0
    }

    /// Whether the client left first. Where neither has said farewell, this end has: the kernel closes a socket with bytes that
    /// nobody read, or with `SO_LINGER` of no time, before it sends the reset. (One that gives up a silent peer looks the same.)
    #[inline(always)]
    const fn client_left(&self) -> bool {
        match self.end & FIRST {
            0 => self.role == Role::Client as u8,
            first => first == Side::Request.mark(),
        }
    }

    /// Nobody has ended.
    #[inline(always)]
    pub fn forget_ends(&mut self) {
        self.ended = [false; 2];
        self.end = 0;
    }

    /// Whether this segment acknowledges answers: then [`Connection::deliver`] is to be called.
    #[inline(always)]
    #[must_use]
    pub fn delivers(&self, segment: &Segment) -> bool {
        match (segment.side, segment.acknowledged) {
            (Side::Request, Some(acknowledged)) => self.deliveries.first_covered(acknowledged).is_some(),
            _ => false,
        }
    }

    /// Answers that this segment acknowledges to their last byte. To be called until it returns none.
    #[inline(always)]
    pub fn deliver(&mut self, acknowledged: u32) -> Option<Delivery> {
        let delivery = self.deliveries.first_covered(acknowledged)?;
        self.deliveries.pop();
        Some(delivery)
    }
}
