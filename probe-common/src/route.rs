//! The route of a request: its path as a template, in which what names one thing among many is a `*`.
//!
//! `/users/4711/orders?page=2` becomes `/users/*/orders`: the query and the fragment are cut, and so are scheme and
//! authority of a target in absolute form (RFC 9112, section 3.2.2). A segment becomes `*` if it is
//!
//! - a number: decimal digits only;
//! - a UUID (RFC 9562): 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between them;
//! - long hexadecimal: [`LONG`] digits or more, one of them a decimal one, or it would be a word;
//! - a long token: text that looks like no word, as session identifiers and reset tokens do (see [`segment::TOKEN`]).
//!
//! The parameters of a segment, `;jsessionid=...` (RFC 3986, section 3.3), are cut.
//!
//! A template ends in `/**` behind its first [`DEPTH`] segments, or behind the last one with which it has no more than
//! [`LONGEST`] bytes. There is none of a path that is not of printable ASCII, of which the end was not seen, or of a target
//! that is no path (`CONNECT`).
//!
//! A path is client-controlled text of any length: [`Template::step`] reads eight bytes of it, and the loop around it is
//! the caller's, as with [`crate::connection::Connection::step`].

use crate::{
    swar::{LOWER, all, bytes_below, zeros},
    window::Window,
};

pub mod segment;
#[cfg(test)]
mod tests;

use segment::Segment;
pub use segment::{LONG, TOKEN};

/// Bytes of a template, with zeros behind the text.
pub const SIZE: usize = 64;

/// Segments of a template.
pub const DEPTH: u32 = 8;

/// Bytes of a template before the `/**` of one that was cut.
pub const LONGEST: u32 = SIZE as u32 - 3;

/// Index of the route `other`: of requests without a template, and of those whose route found no room.
pub const OTHER: u8 = 0;

/// The most steps that a template takes: eight bytes each of all that a window holds, one for the end of each segment and
/// one for that of its parameters, and those before the path.
pub const STEPS: u32 = 96;

/// The route of a request, under which the kernel keeps its index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// The service's index.
    pub service: u32,
    /// Zero: the kernel hashes every byte of a key.
    pub padding: u32,
    /// The template, eight bytes a word, the first one lowest; zeros behind it.
    pub text: [u64; SIZE / 8],
}

impl RouteKey {
    /// The template's bytes, with zeros behind them.
    #[must_use]
    pub fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.text) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }
}

/// Where in a request line a template has come.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The method.
    #[default]
    Method = 0,
    /// The authority of a target in absolute form.
    Authority = 1,
    /// The path.
    Path = 2,
    /// Behind it: the template is complete.
    Behind = 3,
    /// There is no template.
    Nowhere = 4,
    /// The parameters of a segment.
    Parameters = 5,
}

/// A template in the making. All zero is one that has not begun.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// The text, zeros behind it. Twice as long as it gets, so that an index below [`SIZE`] and a word more is in bounds.
    words: [u64; SIZE / 4],
    /// What the bytes of the segment in progress are.
    seen: Segment,
    /// Not 0 if one is not to be printed.
    unprintable: u64,
    /// Index in the window of the next byte.
    at: u32,
    /// Index behind the line, as far as it was seen.
    end: u32,
    /// Bytes of text; where it does not fit, there may be more than are kept.
    length: u32,
    /// Where in the text the segment in progress begins.
    segment: u32,
    /// Segments that have begun.
    depth: u32,
    place: Place,
}

impl Template {
    /// Begins with the request line in a window: see [`Window::note_line`].
    #[inline(always)]
    pub fn begin(&mut self, window: &Window) {
        // What the compiler takes for zero it has set by a call, byte by byte.
        let zero = core::hint::black_box(0_u64);
        for word in &mut self.words[..=SIZE / 8] {
            *word = zero;
        }
        self.seen.begin(zero);
        self.unprintable = zero;
        (self.at, self.end) = window.line();
        self.length = zero as u32;
        self.segment = zero as u32;
        self.depth = zero as u32;
        self.place = Place::Method;
    }

    /// Reads up to eight bytes; false if there is no more to read.
    #[inline(always)]
    pub fn step(&mut self, window: &Window) -> bool {
        if self.at >= self.end {
            return self.stop(Place::Nowhere);
        }
        let word = window.word(self.at as usize);
        // A method may have any other byte.
        let ends = match self.place {
            Place::Method => zeros(word ^ all(b' ')),
            Place::Path => delimiters(word) | zeros(word ^ all(b';')),
            _ => delimiters(word),
        };
        let found = ends | behind(self.end - self.at);
        // The bytes before the first delimiter.
        let (kept, count) = if found == 0 {
            (u64::MAX, 8)
        } else {
            let kept = ((found & found.wrapping_neg()) - 1) >> 7;
            (kept, bytes_below(found))
        };
        let count = count as u32;
        self.at += count;
        if matches!(self.place, Place::Path) {
            self.append(word & kept, count);
        }
        let delimiter = if found != 0 {
            if self.at >= self.end {
                return self.stop(Place::Nowhere);
            }
            (word >> (8 * (count & 7))) as u8
        } else if self.has_outgrown() {
            b' '
        } else {
            return true;
        };
        match self.place {
            Place::Method => self.target(window),
            Place::Authority if delimiter == b'/' => {
                self.place = Place::Path;
                true
            }
            Place::Authority => {
                // RFC 9110, section 4.2.3: an empty path is the root.
                self.push(b'/');
                self.stop(Place::Behind)
            }
            _ if delimiter == b';' => {
                self.place = Place::Parameters;
                true
            }
            _ => self.end_of_segment(delimiter),
        }
    }

    /// Makes it the route of a service; false if the request has no template.
    #[inline(always)]
    #[must_use]
    pub fn name(&self, service: u32, key: &mut RouteKey) -> bool {
        key.service = service;
        for (to, from) in key.text.iter_mut().zip(&self.words) {
            *to = *from;
        }
        matches!(self.place, Place::Behind)
    }

    #[inline(always)]
    fn stop(&mut self, place: Place) -> bool {
        self.place = place;
        false
    }

    /// The method has been read: what is asked for?
    #[inline(always)]
    fn target(&mut self, window: &Window) -> bool {
        self.at += 1;
        let first = window.word(self.at as usize);
        // The letters only: other bytes would become those of `://`.
        let scheme = first | (LOWER & u64::from(u32::MAX));
        if first as u8 == b'/' {
            self.place = Place::Path;
        } else if scheme & (u64::MAX >> 8) == u64::from_le_bytes(*b"http://\0") {
            self.at += 7;
            self.place = Place::Authority;
        } else if scheme | 0x20 << 32 == u64::from_le_bytes(*b"https://") {
            self.at += 8;
            self.place = Place::Authority;
        } else if first as u16 == u16::from_le_bytes(*b"* ") && self.at + 1 < self.end {
            // The server as a whole (RFC 9110, section 7.1).
            self.push(b'*');
            return self.stop(Place::Behind);
        } else {
            return self.stop(Place::Nowhere);
        }
        true
    }

    /// Adds bytes of a segment, of which the higher ones are zero.
    #[inline(always)]
    fn append(&mut self, word: u64, count: u32) {
        let length = self.length.wrapping_sub(self.segment);
        self.unprintable |= self.seen.note(word, count, length);
        self.write(word, count);
    }

    /// Adds bytes, of which the higher ones are zero; what does not fit is left out.
    #[inline(always)]
    fn write(&mut self, word: u64, count: u32) {
        let length = core::hint::black_box(self.length);
        if length < SIZE as u32 {
            let (index, shift) = ((length >> 3 & 7) as usize, 8 * (length & 7));
            self.words[index] |= word << shift;
            self.words[index + 1] |= word >> 1 >> (63 - shift);
        }
        self.length = length.wrapping_add(count);
    }

    /// Adds a byte.
    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.write(u64::from(byte), 1);
    }

    /// Whether the segment in progress, which goes on, becomes no `*` any more and is longer than the text may be: what
    /// follows makes no difference then.
    #[inline(always)]
    fn has_outgrown(&self) -> bool {
        let length = self.length.wrapping_sub(self.segment);
        matches!(self.place, Place::Path) && self.length > LONGEST && self.seen.stays(length)
    }

    /// A segment has ended.
    #[inline(always)]
    fn end_of_segment(&mut self, delimiter: u8) -> bool {
        if self.unprintable != 0 {
            return self.stop(Place::Nowhere);
        }
        if self.seen.is_one_among_many(self.length.wrapping_sub(self.segment)) {
            self.truncate();
            self.push(b'*');
        }
        let outgrown = self.length > LONGEST;
        let more = delimiter == b'/';
        if outgrown {
            self.truncate();
        } else if more {
            self.push(b'/');
        }
        if outgrown || (more && self.depth >= DEPTH) {
            self.write(u64::from(u16::from_le_bytes(*b"**")), 2);
            return self.stop(Place::Behind);
        }
        if !more {
            return self.stop(Place::Behind);
        }
        self.at += 1;
        self.depth += 1;
        self.segment = self.length;
        self.place = Place::Path;
        self.seen.begin(core::hint::black_box(0));
        true
    }

    /// Takes the segment in progress away again.
    #[inline(always)]
    fn truncate(&mut self) {
        let length = core::hint::black_box(self.segment);
        let (index, shift) = ((length >> 3 & 7) as usize, 8 * (length & 7));
        self.words[index] &= (1 << shift) - 1;
        let zero = core::hint::black_box(0);
        for further in 0..SIZE / 8 {
            self.words[(index + 1 + further) % (SIZE / 4)] = zero;
        }
        self.length = length;
    }
}

/// The high bit of each byte that ends a segment: exact up to the first one.
#[inline(always)]
fn delimiters(word: u64) -> u64 {
    let is = |byte: u8| zeros(word ^ all(byte));
    is(b'/') | is(b'?') | is(b'#') | is(b' ')
}

/// The high bit of the first byte of a word that is behind the line, of which `left` bytes are left, one or more.
#[inline(always)]
fn behind(left: u32) -> u64 {
    if left >= 8 { 0 } else { 0x80 << (8 * left) }
}
