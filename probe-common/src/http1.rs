//! HTTP/1 message heads, line by line (RFC 9112).
//!
//! Only what frames a message or names its series is read: the method, the status, `Content-Length` and
//! `Transfer-Encoding`. A line is given by its indices in a [`Window`], without its line ending.

use crate::{protocol::Method, swar::LOWER, window::Window};

/// Eight bytes as a little-endian word.
pub(crate) const fn word(text: [u8; 8]) -> u64 {
    u64::from_le_bytes(text)
}

/// Whether a line shows its whole length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Only its start: it is longer than what is kept of a line.
    Start,
}

/// The method of a request line, or `None` if it is not one (RFC 9112, section 3).
///
/// A line that shows its end must end in the version. Of a longer one only the standard methods are believed.
#[inline(always)]
#[must_use]
pub fn request_line(window: &mut Window, start: usize, end: usize, extent: Extent) -> Option<Method> {
    let method = method(window, start)?;
    match extent {
        Extent::Start => (method as u8 != Method::Other as u8).then_some(method),
        Extent::Whole => {
            // "A / HTTP/1.1" is as short as it gets.
            if end < start + 12 {
                return None;
            }
            let version = window.word(end.wrapping_sub(8));
            let minor = (version >> 56) as u8;
            let named = version & (u64::MAX >> 8) == word(*b"HTTP/1.\0");
            let separate = window.byte(end.wrapping_sub(9)) == b' ';
            (named && separate && minor.is_ascii_digit()).then_some(method)
        }
    }
}

/// The method at the start of a line: a standard one, or another token of capital letters.
#[inline(always)]
#[must_use]
pub fn method(window: &mut Window, start: usize) -> Option<Method> {
    let first = window.word(start);
    let head = |bytes: u32| first & (u64::MAX >> (64 - 8 * bytes));
    let known = if head(4) == word(*b"GET \0\0\0\0") {
        Method::Get
    } else if head(5) == word(*b"POST \0\0\0") {
        Method::Post
    } else if head(4) == word(*b"PUT \0\0\0\0") {
        Method::Put
    } else if head(5) == word(*b"HEAD \0\0\0") {
        Method::Head
    } else if head(7) == word(*b"DELETE \0") {
        Method::Delete
    } else if head(6) == word(*b"PATCH \0\0") {
        Method::Patch
    } else if first == word(*b"OPTIONS ") {
        Method::Options
    } else if first == word(*b"CONNECT ") {
        Method::Connect
    } else if head(6) == word(*b"TRACE \0\0") {
        Method::Trace
    } else if head(6) == word(*b"QUERY \0\0") {
        Method::Query
    } else if head(6) == word(*b"PROXY \0\0") {
        // A header of the PROXY protocol, whatever it ends in.
        return None;
    } else {
        return other_method(window, start);
    };
    Some(known)
}

/// A method that is none of the standard ones: a token of capital letters (RFC 9110, section 9.1, says capital by
/// convention; holding on to it tells a request from a sentence).
#[inline(always)]
fn other_method(window: &mut Window, start: usize) -> Option<Method> {
    let mut at = start;
    for _ in 0..24 {
        let byte = window.byte(at);
        if !byte.is_ascii_uppercase() && byte != b'-' && byte != b'_' {
            break;
        }
        at += 1;
    }
    let end = window.forget(at as u64) as usize;
    if end == start || window.byte(end) != b' ' { None } else { Some(Method::Other) }
}

/// The status code of a status line, or `None` if it is not one (RFC 9112, section 4).
#[inline(always)]
#[must_use]
pub fn status_line(window: &Window, start: usize, end: usize) -> Option<u16> {
    if end < start + 12 {
        return None;
    }
    let version = window.word(start);
    let code = window.word(start + 8);
    if version & (u64::MAX >> 8) != word(*b"HTTP/1.\0") || code as u8 != b' ' {
        return None;
    }
    let digit = |position: u32| {
        let digit = ((code >> (8 * position)) as u8).wrapping_sub(b'0');
        u16::from(digit)
    };
    let (hundreds, tens, ones) = (digit(1), digit(2), digit(3));
    if hundreds == 0 || hundreds > 9 || tens > 9 || ones > 9 {
        return None;
    }
    Some(hundreds * 100 + tens * 10 + ones)
}

/// What a line of a head, or of a trailer, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Nothing that matters here.
    Other,
    /// The empty line that ends the section.
    End,
    /// `Content-Length`
    Length(u64),
    /// `Transfer-Encoding` whose last coding is `chunked`.
    Chunked,
    /// A length that cannot be: the framing is not to be trusted (RFC 9112, section 6.3).
    Bad,
}

/// Reads a field line (RFC 9112, section 5).
#[inline(always)]
#[must_use]
pub fn field(window: &mut Window, start: usize, end: usize, extent: Extent) -> Field {
    if start == end {
        return Field::End;
    }
    let first = window.word(start) | LOWER;
    if first == word(*b"content-") {
        let second = window.word(start + 8);
        if (second | LOWER) & (u64::MAX >> 16) == word(*b"length\0\0") && (second >> 48) as u8 == b':' {
            return length(window, start + 15, end, extent);
        }
    } else if first == word(*b"transfer") {
        let second = window.word(start + 8) | LOWER;
        let third = window.word(start + 16);
        if second == word(*b"-encodin") && third as u8 | 0x20 == b'g' && (third >> 8) as u8 == b':' {
            return coding(window, end, extent);
        }
    }
    Field::Other
}

/// The value of `Content-Length`: digits, spaces around them.
#[inline(always)]
fn length(window: &mut Window, start: usize, end: usize, extent: Extent) -> Field {
    if matches!(extent, Extent::Start) {
        return Field::Bad;
    }
    let mut start = start;
    for _ in 0..SPACES {
        let byte = window.byte(start);
        if byte != b' ' && byte != b'\t' {
            break;
        }
        start += 1;
    }
    let start = window.forget(start as u64) as usize;
    let mut value: u64 = 0;
    let mut at = start;
    // No message of an exabyte is coming: 18 digits cannot overflow.
    for _ in 0..18 {
        let digit = window.byte(at).wrapping_sub(b'0');
        if at >= end || digit > 9 {
            break;
        }
        value = value * 10 + u64::from(digit);
        at += 1;
    }
    let at = window.forget(at as u64) as usize;
    let behind = window.byte(at);
    let ended = at == end || (at < end && (behind == b' ' || behind == b'\t'));
    if at == start || !ended { Field::Bad } else { Field::Length(value) }
}

/// The most spaces before or behind a field's value. Nobody sends more than one.
const SPACES: usize = 4;

/// Whether `Transfer-Encoding` ends in `chunked`, as it must wherever it frames a message (RFC 9112, section 6.1).
#[inline(always)]
fn coding(window: &mut Window, end: usize, extent: Extent) -> Field {
    if matches!(extent, Extent::Start) {
        return Field::Chunked;
    }
    let mut end = end;
    for _ in 0..SPACES {
        let last = window.byte(end.wrapping_sub(1));
        if last != b' ' && last != b'\t' {
            break;
        }
        end = end.wrapping_sub(1);
    }
    let end = window.forget(end as u64) as usize;
    let last = window.word(end.wrapping_sub(8)) | LOWER;
    if last >> 8 == word(*b"chunked\0") { Field::Chunked } else { Field::Other }
}

/// The size of a chunk, or `None` if the line is not a chunk's first (RFC 9112, section 7.1).
#[inline(always)]
#[must_use]
pub fn chunk_size(window: &mut Window, start: usize, end: usize) -> Option<u64> {
    let mut size: u64 = 0;
    let mut at = start;
    for _ in 0..15 {
        let Some(digit) = hexadecimal(window.byte(at)) else {
            break;
        };
        if at >= end {
            break;
        }
        size = size << 4 | u64::from(digit);
        at += 1;
    }
    let at = window.forget(at as u64) as usize;
    // Behind it may be an extension, which means nothing here.
    let ended = at == end || (at < end && matches!(window.byte(at), b';' | b' ' | b'\t'));
    if at == start || !ended { None } else { Some(size) }
}

#[inline(always)]
fn hexadecimal(byte: u8) -> Option<u8> {
    let digit = byte.wrapping_sub(b'0');
    let letter = (byte | 0x20).wrapping_sub(b'a');
    if digit <= 9 {
        Some(digit)
    } else if letter <= 5 {
        Some(letter + 10)
    } else {
        None
    }
}
