//! Who a proxy says that a request is from: the fields `X-Forwarded-For` and `Forwarded` (RFC 7239), a byte at a time.
//!
//! Either is a list with an element for each hop, the latest last. An element of `X-Forwarded-For` is an address, with a
//! port behind it if somebody likes; IPv6 may have brackets, all of it quotes. One of `Forwarded` is pairs, of which `for`
//! has the address. `unknown`, what begins with `_` (RFC 7239, section 6.3), and whatever else is no address names nobody.

use crate::{address_text::AddressText, http1::word, swar::LOWER, window::Window};

/// A field that names clients.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListField {
    /// None.
    #[default]
    None = 0,
    /// `Forwarded`
    Forwarded = 1,
    /// `X-Forwarded-For`
    XForwardedFor = 2,
}

/// The field of this kind that a line is, and the index behind its colon.
#[inline(always)]
#[must_use]
pub fn named(window: &Window, start: usize, end: usize) -> Option<(ListField, usize)> {
    const FIRST: u64 = word(*b"x-forwar");
    const SECOND: u64 = word(*b"ded-for:");
    let first = window.word(start) | LOWER;
    let second = window.word(start + 8);
    if first == FIRST && second | LOWER == SECOND && end >= start + 16 {
        // A colon has that bit, so that no other byte is taken for one but 0x1a, which is in no name.
        return Some((ListField::XForwardedFor, start + 16));
    }
    let rest = second as u16;
    if first == word(*b"forwarde") && rest | 0x20 == u16::from_le_bytes(*b"d:") && end >= start + 10 {
        return Some((ListField::Forwarded, start + 10));
    }
    None
}

/// Where in an element a byte is.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The name of a pair.
    #[default]
    Name = 0,
    /// Before an address.
    Before = 1,
    /// In it.
    Address = 2,
    /// Behind it.
    Behind = 3,
    /// The port behind it.
    Port = 4,
    /// A value of another name.
    Other = 5,
}

/// Within quotes.
const QUOTED: u8 = 1;
/// The last byte was a backslash within quotes.
const ESCAPED: u8 = 2;
/// The address began with a bracket.
const BRACKET: u8 = 4;
/// The element names no address.
const BAD: u8 = 8;
/// It has a pair `for`.
const NAMED: u8 = 16;
/// It is not empty.
const SOME: u8 = 32;

/// The name that is looked for.
const FOR: [u8; 4] = *b"for\0";

/// A list of hops, read so far. All zero is one that has not begun.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    text: AddressText,
    field: ListField,
    place: Place,
    flags: u8,
    /// Bytes of `for` that the name in progress has; more than three if it is another.
    matched: u8,
}

impl List {
    /// The value of a field begins.
    #[inline(always)]
    pub fn begin(&mut self, field: ListField) {
        self.field = field;
        self.text = AddressText::default();
        self.flags = 0;
        self.matched = 0;
        self.place = if matches!(field, ListField::Forwarded) { Place::Name } else { Place::Before };
    }

    /// Reads a byte of the value, or the newline behind it. Returns whether an element ends with it: then
    /// [`List::names`] and [`List::address`] tell what it came to, and [`List::next`] is to be called.
    #[inline(always)]
    pub fn eat(&mut self, byte: u8) -> bool {
        let quoted = self.flags & QUOTED != 0;
        if byte == b'\n' || (byte == b',' && !quoted) {
            return self.flags & SOME != 0;
        }
        let space = matches!(byte, b' ' | b'\t' | b'\r');
        if !space {
            self.flags |= SOME;
        }
        if self.flags & ESCAPED != 0 {
            self.flags &= !ESCAPED;
        } else if quoted && byte == b'\\' {
            self.flags |= ESCAPED;
            if !matches!(self.place, Place::Other) {
                self.flags |= BAD;
            }
        } else if byte == b'"' {
            self.quote();
        } else if byte == b';' && !quoted && matches!(self.field, ListField::Forwarded) {
            self.end_address();
            self.place = Place::Name;
            self.matched = 0;
        } else {
            self.plain(byte, space);
        }
        false
    }

    #[inline(always)]
    fn quote(&mut self) {
        if self.flags & QUOTED != 0 {
            self.end_address();
            self.flags &= !QUOTED;
            if !matches!(self.place, Place::Other) {
                self.place = Place::Behind;
            }
        } else if matches!(self.place, Place::Before | Place::Other) {
            self.flags |= QUOTED;
        } else {
            self.flags |= BAD;
        }
    }

    /// An address in brackets ends with them.
    #[inline(always)]
    fn end_address(&mut self) {
        if self.flags & BRACKET != 0 && matches!(self.place, Place::Address) {
            self.flags |= BAD;
        }
    }

    #[inline(always)]
    fn plain(&mut self, byte: u8, space: bool) {
        match self.place {
            Place::Name => self.name(byte, space),
            Place::Before | Place::Behind if space => {}
            Place::Before if byte == b'[' => {
                self.flags |= BRACKET;
                self.place = Place::Address;
            }
            Place::Before => {
                self.place = Place::Address;
                self.text.eat(byte);
            }
            Place::Address if space => {
                self.end_address();
                self.place = Place::Behind;
            }
            Place::Address if byte == b']' && self.flags & BRACKET != 0 => self.place = Place::Behind,
            Place::Address if byte == b':' && self.flags & BRACKET == 0 && self.text.is_ipv4() => {
                self.place = Place::Port;
            }
            Place::Address => self.text.eat(byte),
            Place::Behind if byte == b':' && self.flags & BRACKET != 0 => self.place = Place::Port,
            Place::Behind => self.flags |= BAD,
            Place::Port | Place::Other => {}
        }
    }

    #[inline(always)]
    fn name(&mut self, byte: u8, space: bool) {
        if byte == b'=' {
            self.place = Place::Other;
            if self.matched == 3 {
                if self.flags & NAMED != 0 {
                    self.flags |= BAD;
                }
                self.flags |= NAMED;
                self.place = Place::Before;
            }
        } else if space && self.matched == 0 {
            // Before the name.
        } else if self.matched < 3 && byte | 0x20 == FOR[(self.matched & 3) as usize] {
            self.matched += 1;
        } else {
            self.matched = 4;
        }
    }

    /// The address of the element that has ended, as it was read.
    #[inline(always)]
    pub fn address(&mut self) -> &mut AddressText {
        &mut self.text
    }

    /// Whether the element that has ended may name an address.
    #[inline(always)]
    pub fn names(&mut self) -> bool {
        self.end_address();
        let anonymous = matches!(self.field, ListField::Forwarded) && self.flags & NAMED == 0;
        !anonymous && self.flags & (BAD | QUOTED) == 0
    }

    /// The next element begins.
    #[inline(always)]
    pub fn next(&mut self) {
        self.begin(self.field);
    }
}
