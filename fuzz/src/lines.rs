//! What a single line means, read plainly: over the whole line, with the standard library.

use probe_common::{
    blanks::MOST,
    http1::{Extent, Field, LONGEST_METHOD, LONGEST_TAIL},
    protocol::Method,
    window::CARRY,
};

/// The method of a request line (RFC 9112, section 3). A line that is not shown whole counts with a standard method, or with
/// another one before a target. `PROXY` begins a header of the PROXY protocol.
#[must_use]
pub fn request_line(line: &[u8], extent: Extent) -> Option<Method> {
    let name = line.split(|byte| *byte == b' ').next().filter(|name| name.len() < line.len())?;
    let method = standard_method(name);
    let other = (1..=LONGEST_METHOD).contains(&name.len())
        && name != b"PROXY"
        && name.iter().all(|byte| is_of_method(*byte));
    let either = method.or(other.then_some(Method::Other))?;
    let target = &line[name.len() + 1..];
    match extent {
        Extent::Start if method.is_some() => method,
        Extent::Start => begins_as_target(target).then_some(either),
        Extent::Whole => ends_in_version(line).then_some(either),
    }
}

/// Whether a byte may be part of a method: more than a token has.
fn is_of_method(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"/:\"(".contains(&byte) || byte == 0x7f
}

fn begins_as_target(target: &[u8]) -> bool {
    let scheme = target.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"));
    scheme || matches!(target.first(), Some(b'/' | b'*'))
}

/// Three bytes at least, a space, and `HTTP/1.` with a digit, behind which up to sixteen more bytes are taken, and blanks behind those.
fn ends_in_version(line: &[u8]) -> bool {
    let blanks = line.iter().rev().take(MOST).take_while(|byte| is_blank(**byte)).count();
    let line = &line[..line.len() - blanks];
    let Some(space) = line.iter().rposition(|byte| *byte == b' ') else {
        return false;
    };
    let version = &line[space + 1..];
    let named =
        matches!(version, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor, ..] if minor.is_ascii_digit());
    space >= 3 && named && version.len() <= 8 + LONGEST_TAIL
}

/// The standard method of this name.
#[must_use]
pub fn standard_method(name: &[u8]) -> Option<Method> {
    Method::ALL.into_iter().skip(1).find(|method| method.label().as_bytes() == name)
}

/// The code of a status line (RFC 9112, section 4): `HTTP/1.x` and three digits, the first of which is not zero. What
/// comes behind them is not looked at.
#[must_use]
pub fn status_line(line: &[u8]) -> Option<u16> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', code @ ..] = line else {
        return None;
    };
    let code = str::from_utf8(code.get(..3)?).ok()?;
    let digits = code.bytes().all(|byte| byte.is_ascii_digit()) && !code.starts_with('0');
    code.parse().ok().filter(|_| digits)
}

/// What a field line says (RFC 9112, section 5).
#[must_use]
pub fn field(line: &[u8], extent: Extent) -> Field {
    if line.is_empty() {
        return Field::End;
    }
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Field::Other;
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    match (named(name, b"content-length"), named(name, b"transfer-encoding"), extent) {
        (true, ..) => length(value, extent, CARRY + line.len()),
        (_, true, Extent::Start) => Field::Chunked,
        (_, true, Extent::Whole) if is_chunked(value) => Field::Chunked,
        _ if named(name, b"expect") => Field::Expect,
        _ => Field::Other,
    }
}

/// Whether a field has this name. The engine makes letters small by setting a bit, by which a carriage return in the
/// midst of a name, which no parser takes, becomes a hyphen.
fn named(name: &[u8], wanted: &[u8]) -> bool {
    let name: Vec<_> = name.iter().map(|byte| if *byte == b'\r' { b'-' } else { *byte }).collect();
    name.eq_ignore_ascii_case(wanted)
}

/// `Content-Length`: 1 to 18 digits, blanks before them, and behind them nothing or a blank, behind which
/// nothing is looked at. More than [`MOST`] blanks, and what may still become a length, are for another look; the value ends at
/// an index.
fn length(value: &[u8], extent: Extent, end: usize) -> Field {
    let digits = without_blanks(value);
    if digits.first().is_some_and(|byte| is_blank(*byte)) {
        let at = end - digits.len();
        return Field::Unfinished(at, at);
    }
    let so_far = digits.strip_suffix(b"\r").unwrap_or(digits);
    if extent == Extent::Start && so_far.len() <= 18 && so_far.iter().all(u8::is_ascii_digit) {
        return Field::Unfinished(end - digits.len(), end);
    }
    let length = digits.iter().position(|byte| is_blank(*byte)).unwrap_or(digits.len());
    let text = str::from_utf8(&digits[..length]).unwrap_or_default();
    let plausible = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plausible).map_or(Field::Bad, Field::Length)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn without_blanks(value: &[u8]) -> &[u8] {
    &value[value.iter().take(MOST).take_while(|byte| is_blank(**byte)).count()..]
}

/// Whether the value is `chunked`, or ends in it.
fn is_chunked(value: &[u8]) -> bool {
    let chunked = |name: &[u8]| name.eq_ignore_ascii_case(b"chunked");
    let first = without_blanks(value);
    let behind = value.iter().rev().take(MOST).take_while(|byte| is_blank(**byte)).count();
    let last = &value[..value.len() - behind];
    let only = first.get(..7).is_some_and(chunked) && first.get(7).is_some_and(|byte| is_blank(*byte));
    only || last.len() >= 7 && chunked(&last[last.len() - 7..])
}

/// The size of a chunk (RFC 9112, section 7.1): 1 to 15 hexadecimal digits, and behind them nothing, an extension, or a
/// space, behind which nothing is looked at.
#[must_use]
pub fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(line.len());
    let digits = str::from_utf8(&line[..end]).ok()?;
    let plausible = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| plausible)
}
