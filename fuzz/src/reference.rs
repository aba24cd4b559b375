//! HTTP/1 framing (RFC 9112, section 6) over whole streams: slow, with heads read by httparse, and strict.
//!
//! What is not HTTP/1 to the letter, or is known to be read otherwise by the engine, is [`Malformed`]: of it nothing is
//! said. These are the latter:
//! - a method of more than 39 bytes, since the engine may see a line's first 40 only; or one that is none of the standard ones, before
//!   a target that begins neither with a slash nor as an absolute one does;
//! - a name of `Content-Length` or `Transfer-Encoding` with blanks behind it; a `Transfer-Encoding` in a line of more than 40 bytes; a
//!   length of more than 18 digits; a list of lengths, even of equal ones;
//! - a chunk's size of no digits or of more than fifteen;
//! - more than one `Transfer-Encoding`; a coding whose name only ends in `chunked`; one that is not `chunked` beside a
//!   `Content-Length`;
//! - requests behind one whose answer has no length, since they end that answer wherever they begin.

use httparse::{EMPTY_HEADER, Header, Status};
use probe_common::{
    exchange::{ABORTED, CANCELLED},
    http1::Field,
    window::CARRY,
};

use crate::{lines, script::Script};

mod order;

/// The most fields of a head.
const FIELDS: usize = 256;

/// It is not HTTP/1 to the letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A request with its answer, and where they are in their streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// The method, as it is exported.
    pub method: &'static str,
    /// Status of the final response; 0 if it did not come to its end.
    pub status: u16,
    /// Where the request begins, its head ends, and it ends.
    pub request: [usize; 3],
    /// Where the first response, interim ones included, begins.
    pub answered_from: usize,
    /// Where the final response's head ends.
    pub answer_head: usize,
    /// How the answer ends.
    pub ending: Ending,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Framed,
    /// With the connection.
    Closing,
    /// In a stream of something else.
    Switched,
    /// It is not all there.
    Missing,
}

/// What a message's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The requests of a connection with their answers. The streams are all that was said on it.
///
/// # Errors
/// [`Malformed`]
pub fn exchanges(requests: &[u8], responses: &[u8]) -> Result<Vec<Framed>, Malformed> {
    let (mut asked, mut answered) = (Stream::new(requests), Stream::new(responses));
    let mut exchanges = Vec::new();
    while asked.left() > 0 {
        let (method, request) = asked.request()?;
        let framed = answered.answer(method, request)?;
        let ending = framed.ending;
        exchanges.push(framed);
        match ending {
            Ending::Framed | Ending::Missing => {}
            Ending::Closing if asked.left() == 0 => {}
            Ending::Closing => return Err(Malformed),
            Ending::Switched => return Ok(exchanges),
        }
    }
    if answered.left() > 0 { Err(Malformed) } else { Ok(exchanges) }
}

/// What the probe must count of a script: method and status of each exchange. `None` if the reference has nothing to say
/// of it: not all was seen, or not in an order that HTTP allows, or it is [`Malformed`].
#[must_use]
pub fn of_script(script: &Script) -> Option<Vec<(&'static str, u16)>> {
    if script.setting.joined || !script.in_order {
        return None;
    }
    let exchanges = exchanges(&script.written[0], &script.written[1]).ok()?;
    order::permits(script, &exchanges).then_some(())?;
    let ended = script.setting.closed || order::answers_end(script);
    let counted = exchanges.iter().filter(|framed| match framed.ending {
        Ending::Framed | Ending::Switched => true,
        Ending::Closing => ended,
        Ending::Missing => script.setting.closed,
    });
    let unanswered = if order::client_leaves_first(script) { CANCELLED } else { ABORTED };
    let status = |framed: &Framed| match framed.ending {
        Ending::Missing if framed.status == 0 => unanswered,
        _ => framed.status,
    };
    Some(counted.map(|framed| (framed.method, status(framed))).collect())
}

/// One direction, and how far it has been read.
struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Stream<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next request, which must be all there: its method; where it begins, its head ends, and it ends.
    fn request(&mut self) -> Result<(&'static str, [usize; 3]), Malformed> {
        let begin = self.at;
        let mut headers = [EMPTY_HEADER; FIELDS];
        let mut request = httparse::Request::new(&mut headers);
        let Ok(Status::Complete(length)) = request.parse(self.rest()) else {
            return Err(Malformed);
        };
        plain(&self.rest()[..length])?;
        let name = request.method.ok_or(Malformed)?;
        let line = self.rest().split(|byte| *byte == b'\n').find(|line| !matches!(line, [] | [b'\r']));
        let line = line.ok_or(Malformed)?;
        let extent = probe_common::http1::Extent::Whole;
        let method =
            lines::request_line(line.strip_suffix(b"\r").unwrap_or(line), extent).ok_or(Malformed)?;
        let start = &line[..line.len().min(CARRY)];
        if line.len() > CARRY
            && lines::request_line(start, probe_common::http1::Extent::Start) != Some(method)
        {
            return Err(Malformed);
        }
        self.at += length;
        let head_end = self.at;
        let content = content(request.headers, request.version)?;
        match content {
            Some(_) if name == "CONNECT" => return Err(Malformed),
            None => {}
            Some(Content::UntilClose) => return Err(Malformed),
            Some(content) => self.skip(content)?.then_some(()).ok_or(Malformed)?,
        }
        Ok((method.label(), [begin, head_end, self.at]))
    }

    /// The answer to a request: interim responses, then the final one; as far as they are there.
    fn answer(&mut self, method: &'static str, request: [usize; 3]) -> Result<Framed, Malformed> {
        let answered_from = self.at;
        loop {
            let missing = Framed {
                method,
                status: 0,
                request,
                answered_from,
                answer_head: self.bytes.len(),
                ending: Ending::Missing,
            };
            let mut headers = [EMPTY_HEADER; FIELDS];
            let mut response = httparse::Response::new(&mut headers);
            let length = match response.parse(self.rest()).map_err(|_| Malformed)? {
                Status::Complete(length) => length,
                Status::Partial => {
                    let status = self.begins_well()?.filter(|status| *status >= 200).unwrap_or_default();
                    self.at = self.bytes.len();
                    return Ok(Framed { status, ..missing });
                }
            };
            plain(&self.rest()[..length])?;
            let status = response.code.filter(|code| *code >= 100).ok_or(Malformed)?;
            let content = content(response.headers, response.version)?;
            self.at += length;
            let ended = |ending| Framed { status, answer_head: self.at, ending, ..missing.clone() };
            if status == 101 || (method == "CONNECT" && status / 100 == 2) {
                return Ok(ended(Ending::Switched));
            }
            if status / 100 == 1 {
                continue;
            }
            if method == "HEAD" || status == 204 || status == 304 {
                return Ok(ended(Ending::Framed));
            }
            let content = content.unwrap_or(Content::UntilClose);
            let ending = if content == Content::UntilClose { Ending::Closing } else { Ending::Framed };
            let framed = ended(ending);
            return Ok(if self.skip(content)? { framed } else { Framed { status, ..missing } });
        }
    }

    /// Refuses a status line that httparse would only judge with the rest of its head; where it is so far no more than its
    /// beginning, that is good, and has no status.
    fn begins_well(&self) -> Result<Option<u16>, Malformed> {
        let rest = self.rest().trim_ascii_start();
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let judged = line.len() < rest.len() || line.len() > CARRY;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let status = lines::status_line(line).filter(|_| judged);
        if judged && status.is_none() { Err(Malformed) } else { Ok(status) }
    }

    /// Goes behind a message's content; false if it is not all there.
    fn skip(&mut self, content: Content) -> Result<bool, Malformed> {
        match content {
            Content::Length(length) => Ok(self.jump(length)),
            Content::UntilClose => Ok(self.jump(self.left() as u64)),
            Content::Chunked => self.chunks(),
        }
    }

    fn jump(&mut self, length: u64) -> bool {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let there = length <= self.left();
        self.at += length.min(self.left());
        there
    }

    fn chunks(&mut self) -> Result<bool, Malformed> {
        loop {
            let Some(end) = self.rest().iter().position(|byte| *byte == b'\n') else {
                let judged = self.left() > CARRY;
                if judged && lines::chunk_size(self.rest()).is_none() {
                    return Err(Malformed);
                }
                return Ok(self.jump(u64::MAX));
            };
            let line = &self.rest()[..=end];
            let Ok(Status::Complete((length, size))) = httparse::parse_chunk_size(line) else {
                return Err(Malformed);
            };
            if lines::chunk_size(line.trim_ascii_end()) != Some(size) {
                return Err(Malformed);
            }
            self.at += length;
            if size == 0 {
                return self.trailer();
            }
            if !self.jump(size) {
                return Ok(false);
            }
            match self.rest() {
                [b'\r', b'\n', ..] => self.at += 2,
                [] | [b'\r'] => return Ok(self.jump(u64::MAX)),
                _ => return Err(Malformed),
            }
        }
    }

    fn trailer(&mut self) -> Result<bool, Malformed> {
        let mut headers = [EMPTY_HEADER; FIELDS];
        match httparse::parse_headers(self.rest(), &mut headers).map_err(|_| Malformed)? {
            Status::Complete((length, _)) => {
                self.at += length;
                Ok(true)
            }
            Status::Partial => Ok(self.jump(u64::MAX)),
        }
    }
}

/// What the fields of a head say of its content; `None` if nothing.
fn content(headers: &[Header<'_>], version: Option<u8>) -> Result<Option<Content>, Malformed> {
    let named =
        |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    let mut length = None;
    for header in named("content-length") {
        let line = [b"content-length:", header.value].concat();
        let Field::Length(value) = lines::field(&line, probe_common::http1::Extent::Whole) else {
            return Err(Malformed);
        };
        if length.is_some_and(|length| length != value) || header.value.contains(&b' ') {
            return Err(Malformed);
        }
        length = Some(value);
    }
    let mut codings = named("transfer-encoding");
    let Some(coding) = codings.next() else {
        return Ok(length.map(Content::Length));
    };
    // Of HTTP/1.1 only (section 6.1).
    if codings.next().is_some() || version != Some(1) {
        return Err(Malformed);
    }
    let last = coding.value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    match (last.eq_ignore_ascii_case(b"chunked"), length) {
        (true, _) => Ok(Some(Content::Chunked)),
        (false, None) if !last.to_ascii_lowercase().ends_with(b"chunked") => Ok(Some(Content::UntilClose)),
        (false, _) => Err(Malformed),
    }
}

/// Refuses a head of which the engine may see the start of a coding only.
fn plain(head: &[u8]) -> Result<(), Malformed> {
    let codes = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"transfer-encoding")
    };
    let long = |line: &[u8]| line.len() > CARRY;
    if head.split(|byte| *byte == b'\n').any(|line| codes(line) && long(line)) {
        Err(Malformed)
    } else {
        Ok(())
    }
}
