//! What a single line means, as a reader believes it: over all of the line, with the standard library.

use probe_common::{
    http1::{Extent, Field},
    protocol::Method,
};

/// The most spaces around a field's value that the engine passes over.
const SPACES: usize = 4;
/// The longest method that it believes to be one.
const LONGEST_METHOD: usize = 24;

/// The method of a request line (RFC 9112, section 3). A line that is not shown whole is believed only with a standard
/// method; a method that is none of those must be of capital letters, `-` and `_`, and not
/// `PROXY`, which begins a header of the PROXY protocol.
#[must_use]
pub fn request_line(line: &[u8], extent: Extent) -> Option<Method> {
    let name = line.split(|byte| *byte == b' ').next().filter(|name| name.len() < line.len())?;
    let method = standard_method(name);
    if extent == Extent::Start {
        return method;
    }
    let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] = line else {
        return None;
    };
    let plausible = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let other =
        !name.is_empty() && name != b"PROXY" && name.len() <= LONGEST_METHOD && name.iter().all(plausible);
    let method = method.or(other.then_some(Method::Other))?;
    // With a target between method and version there are twelve bytes at least.
    (minor.is_ascii_digit() && line.len() >= 12).then_some(method)
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
        (true, _, Extent::Whole) => length(value),
        (true, _, Extent::Start) => Field::Bad,
        (_, true, Extent::Start) => Field::Chunked,
        (_, true, Extent::Whole) if last_coding_is_chunked(value) => Field::Chunked,
        _ => Field::Other,
    }
}

/// Whether a field has this name. The engine makes letters small by setting a bit, by which a carriage return in the
/// midst of a name, which no parser takes, becomes a hyphen.
fn named(name: &[u8], wanted: &[u8]) -> bool {
    let name: Vec<_> = name.iter().map(|byte| if *byte == b'\r' { b'-' } else { *byte }).collect();
    name.eq_ignore_ascii_case(wanted)
}

/// `Content-Length`: 1 to 18 digits, up to [`SPACES`] before them, and behind them nothing or a space, behind which
/// nothing is looked at.
fn length(value: &[u8]) -> Field {
    let digits = without_leading_spaces(value);
    let end = digits.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(digits.len());
    let text = str::from_utf8(&digits[..end]).unwrap_or_default();
    let plausible = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plausible).map_or(Field::Bad, Field::Length)
}

fn without_leading_spaces(value: &[u8]) -> &[u8] {
    let spaces = value.iter().take(SPACES).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &value[spaces..]
}

fn last_coding_is_chunked(value: &[u8]) -> bool {
    let spaces = value.iter().rev().take(SPACES).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let value = &value[..value.len() - spaces];
    value.len() >= 7 && value[value.len() - 7..].eq_ignore_ascii_case(b"chunked")
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
