//! First lines that were cut away when they were captured, by a snap length: what is left of them may say all that counts.

use probe_common::{
    connection::{Connection, Segment, Side},
    flow::Part,
    protocol::{Method, Protocol},
    sequence::distance,
};

const VERSION: &[u8] = b"HTTP/1.1";

/// What was captured of a segment, with the first line completed that its end cuts: a request's whose method is whole, or
/// a response's whose status is.
pub(super) fn completed(connection: &Connection, segment: &Segment, bytes: &[u8]) -> Option<Vec<u8>> {
    let flow = match segment.side {
        Side::Request => &connection.request,
        Side::Response => &connection.response,
    };
    if flow.part != Part::Start || flow.carried != 0 {
        return None;
    }
    let offset = usize::try_from(distance(segment.sequence, flow.cursor)).ok()?;
    let line = bytes.get(offset..).filter(|line| !line.contains(&b'\n'))?;
    let rest = match segment.side {
        Side::Request => rest_of_request(line, connection.protocol == Protocol::Http1)?,
        Side::Response => rest_of_response(line)?,
    };
    let ending: &[u8] = if line.ends_with(b"\r") { b"\n" } else { b"\r\n" };
    let whole = [bytes, &rest, ending].concat();
    // What was sent must have had room for it.
    (whole.len() <= segment.length as usize).then_some(whole)
}

fn rest_of_request(line: &[u8], known: bool) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next());
    let named = |of: &Method| *of != Method::Other && of.label().as_bytes() == method;
    let is_method = Method::ALL.iter().any(named);
    // Others have commands of the same names.
    let is_target = match target.first() {
        None | Some(b'/' | b'*') => true,
        Some(_) => known || method == b"CONNECT" || target.starts_with(b"http"),
    };
    if !(is_method && is_target) {
        return None;
    }
    match version {
        Some(version) => VERSION.strip_prefix(version).map(<[u8]>::to_vec),
        None if target.is_empty() => Some([b"/ ", VERSION].concat()),
        None => Some([b" ", VERSION].concat()),
    }
}

fn rest_of_response(line: &[u8]) -> Option<Vec<u8>> {
    let status = line.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    status.iter().all(u8::is_ascii_digit).then(Vec::new)
}
