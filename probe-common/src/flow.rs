//! One direction of a connection: how far it has been read, and what comes next.

use crate::{reason::Reason, sequence::distance, window::CARRY};

/// What the next byte of a direction belongs to.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// A message's first line.
    #[default]
    Start = 0,
    /// The fields of its head.
    Fields = 1,
    /// The rest of a line that is longer than what is kept of one.
    Tail = 2,
    /// Content of known length.
    Content = 3,
    /// The first line of a chunk.
    ChunkSize = 4,
    /// A chunk's content and the line ending behind it.
    Chunk = 5,
    /// The fields behind the last chunk.
    Trailer = 6,
    /// Content that ends with the connection, or with the turn of the conversation.
    UntilClose = 7,
    /// No messages any more: the connection was upgraded, or became a tunnel.
    Stream = 8,
    /// Part of a message went by unread; it ends with the turn of the conversation.
    Lost = 9,
    /// The end of the signature of a PROXY header.
    Signature = 10,
    /// The values in a PROXY header, of known length.
    Values = 11,
    /// From here on a byte at a time: the four bytes behind the signature of a PROXY header.
    Binary = 12,
    /// The source's address in it.
    Source = 13,
    /// A PROXY header as text.
    Text = 14,
    /// The value of a field that names clients.
    Value = 15,
}

impl Part {
    /// Whether it is read a byte at a time.
    #[inline(always)]
    #[must_use]
    pub const fn by_byte(self) -> bool {
        self as u8 >= Self::Binary as u8
    }
}

/// The head had `Content-Length`.
pub const HAS_LENGTH: u8 = 1;
/// The head had `Transfer-Encoding` that ends in `chunked`.
pub const CHUNKED: u8 = 2;
/// The head contradicts itself.
pub const BAD: u8 = 4;
/// Where the message begins is a guess: the start of a segment, after something was lost.
pub const GUESSED: u8 = 8;
/// An answer that nothing waited for.
pub const UNASKED: u8 = 16;
/// That its first line went by unread has been told.
pub const TOLD: u8 = 32;
/// The head had `Expect`: its content may never come.
pub const EXPECTS: u8 = 128;

/// The state of one direction. All zero is the state before the first byte. The other direction looks at none of the first
/// two fields: see [`crate::connection::Connection`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// `Content-Length` of the head that is being read.
    pub length: u64,
    /// When the last byte so far came, while that is what will end the message.
    pub latest: u64,
    /// Content that is still to come before the next line, in bytes.
    pub remaining: u64,
    /// When the first byte of the message in progress came.
    pub started: u64,
    /// Sequence number of the next byte to read.
    pub cursor: u32,
    /// Sequence number behind the furthest byte seen.
    pub high: u32,
    /// Status code of the response in progress.
    pub status: u16,
    /// What the next byte belongs to.
    pub part: Part,
    /// What follows a [`Part::Tail`].
    pub after: Part,
    /// Facts from the head in progress.
    pub facts: u8,
    /// Bytes of an unfinished line, at the end of `carry`.
    pub carried: u8,
    /// Whether `high` is valid.
    pub seen: bool,
    /// Whether `cursor` is valid.
    pub synced: bool,
    /// The start of an unfinished line.
    pub carry: [u8; CARRY],
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            length: 0,
            latest: 0,
            remaining: 0,
            started: 0,
            cursor: 0,
            high: 0,
            status: 0,
            part: Part::Start,
            after: Part::Start,
            facts: 0,
            carried: 0,
            seen: false,
            synced: false,
            carry: [0; CARRY],
        }
    }
}

/// The largest window that TCP can have (RFC 7323, section 2.3): what lies further ahead is not of this connection.
const LARGEST_WINDOW: i32 = 1 << 30;

impl Flow {
    /// The first byte will have this sequence number.
    #[inline(always)]
    pub fn begin_at(&mut self, sequence: u32) {
        self.cursor = sequence;
        self.high = sequence;
        self.seen = true;
        self.synced = true;
    }

    /// Notes that a segment was seen, and returns how many bytes of the stream are new with it: retransmitted and
    /// duplicated bytes are not; those that a lost segment leaves out are counted now, and not when they come.
    #[inline(always)]
    pub fn advance(&mut self, sequence: u32, length: u32) -> u32 {
        let end = sequence.wrapping_add(length);
        if !self.seen {
            self.seen = true;
            self.high = sequence;
        }
        // One without payload is no news of bytes: behind a FIN, which takes a sequence number
        // (RFC 9293, section 3.4), it lies one further.
        if length == 0 {
            return 0;
        }
        let ahead = distance(self.high, end);
        if ahead <= 0 || ahead > LARGEST_WINDOW {
            return 0;
        }
        self.high = end;
        ahead.unsigned_abs()
    }

    /// The later of a place and the cursor.
    #[inline(always)]
    #[must_use]
    pub fn behind(&self, place: u32) -> u32 {
        if distance(place, self.cursor) > 0 { self.cursor } else { place }
    }

    /// Whether what begins at a place came before what is to be read first.
    #[inline(always)]
    #[must_use]
    pub fn is_overtaken(&self, place: u32) -> bool {
        let ahead = distance(self.cursor, place);
        let content = matches!(self.part, Part::UntilClose);
        !content && ahead > 0 && u64::from(ahead.unsigned_abs()) > self.remaining
    }

    /// Whether messages have gone by unread, behind a gap that nothing has filled so far.
    #[inline(always)]
    #[must_use]
    pub fn passed_by(&self) -> bool {
        let reading = self.synced && !matches!(self.part, Part::UntilClose | Part::Lost | Part::Stream);
        reading && distance(self.cursor, self.high) > 0
    }

    /// Why what is missing here is told: a first line, without which a message counts for nothing, or where one ends.
    #[inline(always)]
    #[must_use]
    pub const fn loss(&self) -> Reason {
        match self.part {
            Part::Fields | Part::Tail | Part::ChunkSize | Part::Chunk | Part::Trailer | Part::Value => {
                Reason::EndLost
            }
            _ => Reason::HeadLost,
        }
    }

    /// The rest of the message is not read.
    #[inline(always)]
    pub const fn lose(&mut self) {
        self.part = Part::Lost;
        self.facts |= TOLD;
        self.carried = 0;
        self.remaining = 0;
    }

    /// Whether nothing has come of the content that the head announced.
    #[inline(always)]
    #[must_use]
    pub const fn is_bare(&self) -> bool {
        let none = match self.part {
            Part::Content => self.remaining == self.length,
            Part::ChunkSize => self.length == 0,
            _ => false,
        };
        none && self.cursor == self.high
    }

    /// Makes ready for the next message.
    #[inline(always)]
    pub fn next_message(&mut self) {
        self.part = Part::Start;
        self.facts = 0;
        self.status = 0;
        self.carried = 0;
        self.remaining = 0;
    }
}
