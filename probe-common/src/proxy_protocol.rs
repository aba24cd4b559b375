//! The header that a proxy puts before a connection's first byte to say whose it is: the PROXY protocol, versions 1 and 2
//! (haproxy's `doc/proxy-protocol.txt`).
//!
//! Version 1 is a line, `PROXY TCP4 192.0.2.1 192.0.2.2 4711 80`. Version 2 is a signature of twelve bytes, four that say
//! what follows and how long it is, two addresses, and values of any kind and number. Of either, only the source address is
//! of use here; the rest is passed over.

use crate::{address_text::AddressText, window::Window};

/// Bytes of `PROXY `, behind which version 1 is read a byte at a time.
pub const KEYWORD: usize = 6;

/// The longest header of version 1 behind that, in bytes: 107 it has in all, by the specification.
const LONGEST: u8 = 107 - KEYWORD as u8;

/// Whether a line is a header of version 1, as far as it is there: `PROXY T` or `PROXY U`.
#[inline(always)]
#[must_use]
pub fn is_text(window: &Window, start: usize, end: usize) -> bool {
    let seven = window.word(start) & (u64::MAX >> 8);
    let is = |text: [u8; 8]| seven == u64::from_le_bytes(text);
    (is(*b"PROXY T\0") || is(*b"PROXY U\0")) && end > start + KEYWORD
}

/// Whether a line is that of the signature of version 2 which is not empty and comes first. The signature has five newlines'
/// worth of lines: two empty ones, a zero, `QUIT`.
#[inline(always)]
#[must_use]
pub fn is_signature(window: &Window, start: usize, end: usize) -> bool {
    end == start + 1 && window.byte(start) == 0
}

/// Whether a line is the last one of the signature.
#[inline(always)]
#[must_use]
pub fn ends_signature(window: &Window, start: usize, end: usize) -> bool {
    end == start + 4 && window.word(start) as u32 == u32::from_le_bytes(*b"QUIT")
}

/// A header of version 1 behind `PROXY `, read so far. All zero is one that has not begun.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextHeader {
    source: AddressText,
    at: u8,
    /// `4` or `6`.
    family: u8,
}

/// What a byte of a header of version 1 came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextHeaderStep {
    /// Its source is not known yet.
    More,
    /// It has ended: see [`TextHeader::source`].
    Source,
    /// The proxy does not know whose connection it is.
    Unknown,
    /// This is no header.
    Malformed,
}

impl TextHeader {
    /// Reads a byte.
    #[inline(always)]
    pub fn eat(&mut self, byte: u8) -> TextHeaderStep {
        let at = self.at;
        self.at = at.wrapping_add(1);
        let expected = match at {
            0 if byte == b'U' => return TextHeaderStep::Unknown,
            0 => byte == b'T',
            1 => byte == b'C',
            2 => byte == b'P',
            3 => {
                self.family = byte;
                byte == b'4' || byte == b'6'
            }
            4 => byte == b' ',
            _ if byte == b' ' => return TextHeaderStep::Source,
            _ => {
                self.source.eat(byte);
                byte != b'\n' && at < LONGEST
            }
        };
        if expected { TextHeaderStep::More } else { TextHeaderStep::Malformed }
    }

    /// The source's address as it was read.
    #[inline(always)]
    pub fn source(&mut self) -> &mut AddressText {
        &mut self.source
    }

    /// Whether it is of the family that the header names.
    #[inline(always)]
    #[must_use]
    pub fn is_of_family(&self) -> bool {
        self.source.is_ipv6() == (self.family == b'6')
    }
}

/// The four bytes behind the signature of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinaryHeader {
    /// Bytes that follow: addresses and values.
    pub length: u16,
    /// What it says of the source.
    pub source: BinarySource,
}

/// What a header of version 2 says of the source of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinarySource {
    /// The first four bytes of what follows are its address.
    Ipv4,
    /// The first sixteen are.
    Ipv6,
    /// The proxy speaks for itself (`LOCAL`), for a client whose address is none of these, or for one it does not know.
    Itself,
    /// A version, a command or a length that the specification does not have.
    Malformed,
}

impl BinaryHeader {
    /// Reads the four bytes, the first one lowest.
    #[inline(always)]
    #[must_use]
    pub const fn of(bytes: u32) -> Self {
        let [version_command, family_transport, high, low] = bytes.to_le_bytes();
        let length = (high as u16) << 8 | low as u16;
        let source = match (version_command, family_transport >> 4) {
            (0x21, 1) if length >= 12 => BinarySource::Ipv4,
            (0x21, 2) if length >= 36 => BinarySource::Ipv6,
            (0x21, 1 | 2) => BinarySource::Malformed,
            (0x20 | 0x21, _) => BinarySource::Itself,
            _ => BinarySource::Malformed,
        };
        Self { length, source }
    }
}
