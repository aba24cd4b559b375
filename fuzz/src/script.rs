//! A conversation as the probe sees it: segments, in the order in which they come.
//!
//! In bytes, a script begins with five:
//!
//! | bytes | meaning |
//! |---|---|
//! | 0 | bit 0: the connection is older than the probe; bit 1: it is closed at the end |
//! | 1-2 | how far before the wrap the request's sequence numbers begin, little-endian |
//! | 3-4 | the same for the response's |
//!
//! Behind them come operations, each a byte of which bits 0-1 say what, bit 2 which side (set: the response's), and bits
//! 3-7 are a number `n`:
//!
//! | bits 0-1 | what | followed by |
//! |---|---|---|
//! | 0 | [`Operation::Send`] | `n` bytes of text; if `n` is 31, a length of two bytes before them |
//! | 1 | [`Operation::Hold`] | the same |
//! | 2 | [`Operation::Again`] | two bytes: how far back it begins; two bytes: how long it is |
//! | 3 | `n` 0: [`Operation::Fin`]; 1: [`Operation::Stray`], else [`Operation::Wait`] for `n` microseconds | for a stray: four bytes of distance, signed, and one of length, and as many bytes |
//!
//! Input that ends early is as good as if it went on in zeros: any bytes are a script.

use probe_common::connection::Side;

/// What happens next in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A side writes bytes, and the segment is seen.
    Send(Side, Vec<u8>),
    /// A side writes bytes, and the probe does not see them: they are lost, or late.
    Hold(Side, Vec<u8>),
    /// A stretch of what a side wrote is seen, perhaps again: `back` bytes before its end, `length` of them.
    Again {
        /// Whose.
        side: Side,
        /// How far before the end of what was written so far.
        back: u16,
        /// How long, if there is so much.
        length: u16,
    },
    /// A side ends its direction.
    Fin(Side),
    /// Bytes that nobody wrote, `distance` from the end of what was.
    Stray {
        /// In whose name.
        side: Side,
        /// How far ahead of the end of what was written so far.
        distance: i32,
        /// At most 255.
        bytes: Vec<u8>,
    },
    /// Nothing, for so many microseconds: 2 to 31.
    Wait(u8),
}

/// Which connection a script is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// It was there before the probe.
    pub joined: bool,
    /// It is closed at the end.
    pub closed: bool,
    /// How far before the wrap each direction's sequence numbers begin.
    pub before_wrap: [u16; 2],
}

/// A segment that the probe sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its direction.
    pub side: Side,
    /// Sequence number of its first byte.
    pub sequence: u32,
    /// Its payload.
    pub bytes: Vec<u8>,
    /// What it acknowledges: all that the other side wrote, seen or not.
    pub acknowledged: u32,
    /// Whether the direction ends behind it.
    pub fin: bool,
    /// When it is seen, in nanoseconds.
    pub time: u64,
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The connection.
    pub setting: Setting,
    /// The segments, in the order in which they are seen.
    pub deliveries: Vec<Delivery>,
    /// All that each side wrote, seen or not.
    pub written: [Vec<u8>; 2],
    /// Whether each side's bytes were seen in order, from the first to the last.
    pub in_order: bool,
    /// When it is over.
    pub end: u64,
}

/// The time of the first segment.
const START: u64 = 1_000_000;
const MICROSECOND: u64 = 1_000;
/// The number that stands for a length in two bytes.
const LONG: u8 = 31;

impl Setting {
    /// The sequence number of a side's first byte.
    #[must_use]
    pub fn first(&self, side: Side) -> u32 {
        0_u32.wrapping_sub(u32::from(self.before_wrap[side as usize]))
    }
}

impl Script {
    /// Reads a script; any bytes are one.
    #[must_use]
    pub fn decode(input: &[u8]) -> Self {
        let mut input = Input(input);
        let flags = input.byte();
        let setting = Setting {
            joined: flags & 1 != 0,
            closed: flags & 2 != 0,
            before_wrap: [input.short(), input.short()],
        };
        let mut operations = Vec::new();
        while !input.0.is_empty() {
            operations.push(input.operation());
        }
        Self::new(setting, &operations)
    }

    /// Plays operations.
    #[must_use]
    pub fn new(setting: Setting, operations: &[Operation]) -> Self {
        let mut script = Self {
            setting,
            deliveries: Vec::new(),
            written: [Vec::new(), Vec::new()],
            in_order: true,
            end: START,
        };
        for operation in operations {
            script.play(operation);
        }
        script
    }

    fn play(&mut self, operation: &Operation) {
        match operation {
            Operation::Send(side, bytes) => {
                let from = self.written[*side as usize].len();
                self.written[*side as usize].extend(bytes);
                self.deliver(*side, from, bytes.clone());
            }
            Operation::Hold(side, bytes) => {
                self.in_order &= bytes.is_empty();
                self.written[*side as usize].extend(bytes);
            }
            Operation::Again { side, back, length } => {
                let written = &self.written[*side as usize];
                let from = written.len().saturating_sub(usize::from(*back));
                let to = (from + usize::from(*length)).min(written.len());
                let bytes = written[from..to].to_vec();
                self.deliver(*side, from, bytes);
            }
            Operation::Fin(side) => {
                let from = self.written[*side as usize].len();
                self.deliver(*side, from, Vec::new());
                if let Some(last) = self.deliveries.last_mut() {
                    last.fin = true;
                }
            }
            Operation::Stray { side, distance, bytes } => {
                self.in_order = false;
                let from = self.written[*side as usize].len();
                self.deliver(*side, from, bytes.clone());
                if let Some(last) = self.deliveries.last_mut() {
                    last.sequence = last.sequence.wrapping_add_signed(*distance);
                }
            }
            Operation::Wait(microseconds) => self.end += u64::from(*microseconds) * MICROSECOND,
        }
    }

    fn deliver(&mut self, side: Side, from: usize, bytes: Vec<u8>) {
        let other = if side == Side::Request { Side::Response } else { Side::Request };
        let acknowledged = self.sequence(other, self.written[other as usize].len());
        let sequence = self.sequence(side, from);
        self.deliveries.push(Delivery { side, sequence, bytes, acknowledged, fin: false, time: self.end });
        self.end += MICROSECOND;
    }

    /// The sequence number of a byte.
    fn sequence(&self, side: Side, offset: usize) -> u32 {
        let offset = u32::try_from(offset).expect("a script is far shorter than 4 GiB");
        self.setting.first(side).wrapping_add(offset)
    }
}

/// Writes operations so that [`Script::decode`] reads it.
#[must_use]
pub fn encode(setting: Setting, operations: &[Operation]) -> Vec<u8> {
    let mut output = vec![u8::from(setting.joined) | u8::from(setting.closed) << 1];
    output.extend(setting.before_wrap.iter().flat_map(|distance| distance.to_le_bytes()));
    for operation in operations {
        encode_operation(operation, &mut output);
    }
    output
}

fn encode_operation(operation: &Operation, output: &mut Vec<u8>) {
    let mut head = |what: u8, side: Side, number: u8| output.push(what | (side as u8) << 2 | number << 3);
    match operation {
        Operation::Send(side, bytes) | Operation::Hold(side, bytes) => {
            let what = u8::from(matches!(operation, Operation::Hold(..)));
            // Longer ones become several: 65,535 bytes are more than a segment has.
            for bytes in bytes.chunks(usize::from(u16::MAX)) {
                let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                let short = u8::try_from(length).ok().filter(|length| *length < LONG);
                output.push(what | (*side as u8) << 2 | short.unwrap_or(LONG) << 3);
                if short.is_none() {
                    output.extend(length.to_le_bytes());
                }
                output.extend(bytes);
            }
        }
        Operation::Again { side, back, length } => {
            head(2, *side, 0);
            output.extend(back.to_le_bytes());
            output.extend(length.to_le_bytes());
        }
        Operation::Fin(side) => head(3, *side, 0),
        Operation::Stray { side, distance, bytes } => {
            head(3, *side, 1);
            output.extend(distance.to_le_bytes());
            let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
            output.push(length);
            output.extend(&bytes[..usize::from(length)]);
        }
        Operation::Wait(microseconds) => head(3, Side::Request, *microseconds),
    }
}

/// What is left of a script's bytes.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// As many bytes as there are, up to a number.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes.to_vec()
    }

    fn operation(&mut self) -> Operation {
        let head = self.byte();
        let side = if head & 4 == 0 { Side::Request } else { Side::Response };
        let number = head >> 3;
        match head & 3 {
            what @ (0 | 1) => {
                let length = if number == LONG { self.short() } else { u16::from(number) };
                let bytes = self.bytes(usize::from(length));
                if what == 0 { Operation::Send(side, bytes) } else { Operation::Hold(side, bytes) }
            }
            2 => Operation::Again { side, back: self.short(), length: self.short() },
            _ => match number {
                0 => Operation::Fin(side),
                1 => {
                    let distance = [self.byte(), self.byte(), self.byte(), self.byte()];
                    let length = self.byte();
                    Operation::Stray {
                        side,
                        distance: i32::from_le_bytes(distance),
                        bytes: self.bytes(usize::from(length)),
                    }
                }
                microseconds => Operation::Wait(microseconds),
            },
        }
    }
}
