//! HTTP/1 message heads, line by line (RFC 9112).
//!
//! Only what frames a message or names its series is read: the method, the status, `Content-Length` and
//! `Transfer-Encoding`. A line is given by its indices in a [`Window`], without its line ending.

use crate::{
    blanks,
    protocol::Method,
    swar::{self, LOWER},
    window::Window,
};

/// Eight bytes as a little-endian word.
pub(crate) const fn word(text: [u8; 8]) -> u64 {
    u64::from_le_bytes(text)
}

/// Whether a line shows its whole length.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole = 0,
    /// Only its start: it is longer than what is kept of a line.
    Start = 1,
}

impl Extent {
    #[inline(always)]
    pub(crate) const fn of_number(number: u64) -> Self {
        if number == Self::Whole as u64 { Self::Whole } else { Self::Start }
    }
}

/// The method of a request line, or `None` if it is not one (RFC 9112, section 3).
///
/// A line that shows its end must end in the version, whatever follows its dot. Of a longer one a standard method is accepted, and
/// another one before what looks like a target.
#[inline(always)]
#[must_use]
pub fn request_line(window: &mut Window, start: usize, end: usize, extent: Extent) -> Option<Method> {
    let method = method(window, start)?;
    let accepted = match extent {
        Extent::Start => method.has_target(window, end),
        Extent::Whole => ends_in_version(window, start, end),
    };
    if accepted { Some(method.method) } else { None }
}

/// What [`request_line`] says of the whole lines that most are: a `GET` or `POST` that ends in its version.
#[inline(always)]
#[must_use]
pub(crate) fn usual_request(window: &Window, start: usize, end: usize) -> Option<Method> {
    let first = window.word(start);
    let method = if first as u32 == u32::from_le_bytes(*b"GET ") {
        Method::Get
    } else if first & (u64::MAX >> 24) == word(*b"POST \0\0\0") {
        Method::Post
    } else {
        return None;
    };
    let named = window.word(end.wrapping_sub(9)) == word(*b" HTTP/1.");
    let numbered = window.byte(end.wrapping_sub(1)).is_ascii_digit();
    ((end >= start + 12) & named & numbered).then_some(method)
}

/// Whether a line of which only the start is there looks like a request's.
#[inline(always)]
#[must_use]
pub fn begins_request(window: &mut Window, start: usize, end: usize) -> bool {
    method(window, start).is_some_and(|method| method.has_target(window, end))
}

/// A method, and where what follows it begins; 0 behind a standard one, which needs no other sign.
struct Asked {
    method: Method,
    target: usize,
}

impl Asked {
    #[inline(always)]
    fn has_target(&self, window: &Window, end: usize) -> bool {
        // What lies behind the end is older bytes.
        let shown = |bytes: usize| self.target + bytes <= end;
        let scheme = (window.word(self.target) | LOWER) & (u64::MAX >> 32) == word(*b"http\0\0\0\0");
        let path = matches!(window.byte(self.target), b'/' | b'*');
        self.target == 0 || (scheme & shown(4)) | (path & shown(1))
    }
}

/// The longest tail of a version: what follows `HTTP/1.`.
pub const LONGEST_TAIL: usize = 16;

/// Whether a line ends in ` HTTP/1.` and a digit. Devices say `HTTP/1.0.8`, and blanks behind it are passed over, as servers do
/// (RFC 9112, section 3).
#[inline(always)]
fn ends_in_version(window: &mut Window, start: usize, end: usize) -> bool {
    let end = blanks::before(window, end);
    // "A / HTTP/1.1" is as short as it gets.
    if end < start + 12 {
        return false;
    }
    let one_word = swar::zeros(window.word(end.wrapping_sub(8)) ^ swar::all(b' ')) == 0;
    let mut space = end.wrapping_sub(9);
    for _ in 0..LONGEST_TAIL {
        if window.byte(space) == b' ' {
            break;
        }
        space = space.wrapping_sub(1);
    }
    let space = window.forget(space as u64) as usize;
    let named = window.word(space) == word(*b" HTTP/1.");
    // By arithmetic, since each comparison would be another way for the verifier to follow.
    let numbered = window.byte(space.wrapping_add(8)).is_ascii_digit();
    one_word & named & numbered & (space.wrapping_sub(start).cast_signed() >= 3)
}

/// The method at the start of a line: a standard one, or another one before a space.
#[inline(always)]
fn method(window: &mut Window, start: usize) -> Option<Asked> {
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
        let end = method_end(window, start);
        let named = end != start && window.byte(end) == b' ';
        return named.then_some(Asked { method: Method::Other, target: end + 1 });
    };
    Some(Asked { method: known, target: 0 })
}

/// The longest accepted method.
pub const LONGEST_METHOD: usize = 64;

/// Index behind the method at the start of a line, as far as one may go. Of the bytes that no token has (RFC 9110, section 5.6.2)
/// those end it that tell a request from a sentence, a field, an address or a quotation.
#[inline(always)]
fn method_end(window: &mut Window, start: usize) -> usize {
    let mut at = start;
    for _ in 0..LONGEST_METHOD / 8 {
        let word = window.word(at);
        let is = |byte: u8| swar::zeros(word ^ swar::all(byte));
        let control = swar::zeros(word & swar::all(0xe0));
        let ends = word & swar::HIGHS | control | is(b' ') | is(b'/') | is(b':') | is(b'"') | is(b'(');
        if ends != 0 {
            at += swar::bytes_below(ends);
            break;
        }
        at += 8;
    }
    window.forget(at as u64) as usize
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

/// Whether a line of which only the start is there looks like a response's.
#[inline(always)]
#[must_use]
pub fn begins_response(window: &Window, start: usize) -> bool {
    window.word(start) & (u64::MAX >> 8) == word(*b"HTTP/1.\0")
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
    /// `Expect`
    Expect,
    /// A `Content-Length` that is to be read on, with its value at the first of these indices, and its name before it; up to the second
    /// one it is to be kept.
    Unfinished(usize, usize),
    /// A length that cannot be: the framing is not to be trusted (RFC 9112, section 6.3).
    Bad,
}

/// Whether a field line, given by its first eight bytes, may be one that [`field`] reads.
#[inline(always)]
#[must_use]
pub(crate) const fn may_frame(first: u64) -> bool {
    let first = first | LOWER;
    first == word(*b"content-") || first == word(*b"transfer") || is_expect(first)
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
            return coding(window, start + 18, end, extent);
        }
    }
    // The bit that makes letters small makes a colon of another byte, too.
    if is_expect(first) && window.byte(start + 6) == b':' { Field::Expect } else { Field::Other }
}

/// Whether a line, given by its first eight bytes in lower case, is an `Expect`.
#[inline(always)]
pub(crate) const fn is_expect(first: u64) -> bool {
    first & (u64::MAX >> 8) == word(*b"expect:\0")
}

/// What `Content-Length` is kept as of a line that is not all there.
pub const LENGTH_NAME: [u8; 15] = *b"content-length:";

/// The value of `Content-Length`: digits, and any number of blanks around them (RFC 9110, section 5.6.3).
#[inline(always)]
fn length(window: &mut Window, start: usize, end: usize, extent: Extent) -> Field {
    let start = blanks::behind(window, start, end);
    if start < end && matches!(window.byte(start), b' ' | b'\t') {
        return unfinished(window, start, start);
    }
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
    if matches!(extent, Extent::Start) && (at >= end || at + 1 == end && behind == b'\r') {
        return unfinished(window, start, end);
    }
    let ended = at == end || (at < end && (behind == b' ' || behind == b'\t'));
    if at == start || !ended { Field::Bad } else { Field::Length(value) }
}

/// The value so far is kept behind the field's name, without the blanks between them, of which there may be any number.
#[inline(always)]
fn unfinished(window: &mut Window, value: usize, to: usize) -> Field {
    window.put_name(value);
    Field::Unfinished(value, to)
}

/// Whether `Transfer-Encoding`, whose value starts at an index, is `chunked`, or ends in it, as it must wherever it frames a message
/// (RFC 9112, section 6.1).
#[inline(always)]
fn coding(window: &mut Window, start: usize, end: usize, extent: Extent) -> Field {
    if matches!(extent, Extent::Start) {
        return Field::Chunked;
    }
    let at = blanks::behind(window, start, end);
    let first = window.word(at) | LOWER;
    let blank = matches!(window.byte(at + 7), b' ' | b'\t');
    let (end_of_line, end) = (end, blanks::before(window, end));
    let last = window.word(end.wrapping_sub(8)) | LOWER;
    // Behind the only one may be more blanks than are passed over.
    let only = first & (u64::MAX >> 8) == word(*b"chunked\0") && blank && at + 7 < end_of_line;
    if only || last >> 8 == word(*b"chunked\0") { Field::Chunked } else { Field::Other }
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
