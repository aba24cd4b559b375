//! What a fuzzer runs. A target for a line takes a byte that says how the line is shown, then the line.

use probe_common::{
    exchange::{ABORTED, CANCELLED, Ending, Exchange},
    http1::{self, Extent, Field, LONGEST_METHOD},
    window::{CARRY, READ, Window},
};

pub use crate::proxies::{forwarded, proxy_protocol};
use crate::{lines, reference, routes, run::run, script::Script};

/// A line in a window as it lies in one in a run: with its ending, if it is shown whole, and other bytes around it.
struct Shown<'a> {
    window: Box<Window>,
    line: &'a [u8],
    end: usize,
    extent: Extent,
}

impl<'a> Shown<'a> {
    /// Bit 0 of the first byte says that the line goes on; its other bits fill the window around it.
    fn of(input: &'a [u8]) -> Option<Self> {
        let (first, line) = input.split_first()?;
        let line = &line[..line.len().min(READ - 1)];
        if line.contains(&b'\n') {
            return None;
        }
        let mut window = Box::<Window>::default();
        // Only of a line that is longer than what is kept of one the start is shown.
        let extent = if first & 1 != 0 && line.len() > CARRY { Extent::Start } else { Extent::Whole };
        let ending = if extent == Extent::Whole { &b"\n"[..] } else { &[] };
        window.put_carry(&[first >> 1; CARRY]);
        for bytes in [&[first >> 1; READ][..], &[line, ending].concat()] {
            let length = u32::try_from(bytes.len()).expect("a window is small");
            window.load(bytes, 0, length).expect("the bytes are there");
        }
        Some(Self { end: CARRY + line.len(), window, line, extent })
    }

    /// The line with the end of a head behind it, for a parser of heads.
    fn with_end(&self) -> Vec<u8> {
        [self.line, b"\r\n\r\n"].concat()
    }
}

/// The first line of a request.
///
/// httparse takes more: methods of any length. It takes less: a minor version of 0 or 1, and a target of certain characters. So what it takes must be taken here, with those exceptions, and not the other way round.
///
/// # Panics
/// Where the engine's parser differs from the reference, or refuses what httparse takes.
pub fn request_line(input: &[u8]) {
    let Some(mut shown) = Shown::of(input) else {
        return;
    };
    let method = http1::request_line(&mut shown.window, CARRY, shown.end, shown.extent);
    assert_eq!(method, lines::request_line(shown.line, shown.extent), "{}", shown.line.escape_ascii());
    let mut request = httparse::Request::new(&mut []);
    let head = shown.with_end();
    let taken = request.parse(&head).is_ok_and(|status| status.is_complete());
    // It passes over empty lines before a message, as the engine does before it looks at a line.
    if let (true, Some(name)) =
        (taken && shown.line.starts_with(request.method.unwrap_or_default().as_bytes()), request.method)
        && name.len() <= LONGEST_METHOD
        && name != "PROXY"
        && shown.extent == Extent::Whole
    {
        let standard = lines::standard_method(name.as_bytes());
        assert_eq!(method, standard.or(Some(probe_common::protocol::Method::Other)), "httparse takes it");
    }
}

/// The template of a request's path.
///
/// # Panics
/// Where the kernel's and the reference's differ.
pub fn route(input: &[u8]) {
    let Some(shown) =
        Shown::of(input).filter(|shown| lines::request_line(shown.line, shown.extent).is_some())
    else {
        return;
    };
    let mut window = shown.window;
    window.note_line(CARRY, shown.end);
    let template = routes::of_window(&window);
    assert_eq!(template, routes::of_line(shown.line), "{}", shown.line.escape_ascii());
}

/// The first line of a response.
///
/// httparse takes less: a minor version of 0 or 1, a space or nothing behind the code, certain characters in the
/// reason. It takes more: a code that begins with a zero.
///
/// # Panics
/// Where the engine's parser differs from the reference, or refuses what httparse takes.
pub fn status_line(input: &[u8]) {
    let Some(shown) = Shown::of(input) else {
        return;
    };
    let status = http1::status_line(&shown.window, CARRY, shown.end);
    assert_eq!(status, lines::status_line(shown.line), "{}", shown.line.escape_ascii());
    let mut response = httparse::Response::new(&mut []);
    let head = shown.with_end();
    let taken = response.parse(&head).is_ok_and(|status| status.is_complete());
    if let (true, Some(code)) = (taken && shown.line.starts_with(b"HTTP"), response.code)
        && code >= 100
    {
        assert_eq!(status, Some(code), "httparse takes it");
    }
}

/// A line of a head's fields.
///
/// httparse takes a name and a value of certain characters, and knows nothing of what they mean. What it takes as
/// `Content-Length` with plain digits must be that length here; what it takes under another name must be nothing.
///
/// # Panics
/// Where the engine's parser differs from the reference, or from httparse.
pub fn field(input: &[u8]) {
    let Some(mut shown) = Shown::of(input) else {
        return;
    };
    let field = http1::field(&mut shown.window, CARRY, shown.end, shown.extent);
    assert_eq!(field, lines::field(shown.line, shown.extent), "{}", shown.line.escape_ascii());
    let mut headers = [httparse::EMPTY_HEADER; 1];
    let head = shown.with_end();
    let Ok(httparse::Status::Complete((_, [header]))) = httparse::parse_headers(&head, &mut headers) else {
        return;
    };
    let digits = str::from_utf8(header.value)
        .ok()
        .filter(|value| (1..=18).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit()));
    if header.name.eq_ignore_ascii_case("content-length") {
        // Behind many blanks the engine looks again.
        let looked = shown.extent == Extent::Whole && !matches!(field, Field::Unfinished(..));
        if let Some(digits) = digits.filter(|_| looked) {
            assert_eq!(field, Field::Length(digits.parse().expect("digits")), "httparse takes it");
        }
    } else if !["transfer-encoding", "expect"].iter().any(|name| header.name.eq_ignore_ascii_case(name)) {
        assert_eq!(field, Field::Other, "httparse takes it");
    }
}

/// The first line of a chunk.
///
/// httparse takes less: behind a space only more of them or an extension. It takes more: a line without a digit, and one
/// of sixteen. What else it takes must be the same size here.
///
/// # Panics
/// Where the engine's parser differs from the reference, or from httparse.
pub fn chunk_size(input: &[u8]) {
    let Some(mut shown) = Shown::of(input) else {
        return;
    };
    let size = http1::chunk_size(&mut shown.window, CARRY, shown.end);
    assert_eq!(size, lines::chunk_size(shown.line), "{}", shown.line.escape_ascii());
    let line = [shown.line, b"\r\n"].concat();
    if let Ok(httparse::Status::Complete((end, taken))) = httparse::parse_chunk_size(&line)
        && end == line.len()
        && (1..=15).contains(&shown.line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count())
    {
        assert_eq!(size, Some(taken), "httparse takes it");
    }
}

/// A conversation, of any kind: it comes to an end, counts no byte twice, ends what began, and delivers no more answers
/// than there were. Where all was seen in order, and is HTTP/1 to the letter, it is counted as the reference counts it.
///
/// # Panics
/// Where one of these does not hold.
pub fn engine(input: &[u8]) {
    let script = Script::decode(input);
    let counted = run(&script);
    for (fresh, written) in counted.fresh.iter().zip(&script.written) {
        assert!(
            !script.in_order || *fresh == written.len() as u64,
            "{fresh} bytes, where {} were sent",
            written.len()
        );
    }
    let open = counted.began - counted.ended;
    assert!(
        !script.setting.closed || open == 0,
        "{open} requests are in flight on a connection that is closed"
    );
    let whole = |exchange: &&Exchange| {
        exchange.status != ABORTED
            && exchange.status != CANCELLED
            && Ending::of(exchange.status) == Ending::Whole
    };
    let answered = counted.exchanges.iter().filter(whole).count() as u64;
    let delivered = counted.delivered + counted.undelivered;
    assert!(delivered <= answered, "{delivered} answers delivered or not, where there were {answered}");
    for exchange in &counted.exchanges {
        assert!(
            exchange.queue <= exchange.first_byte && exchange.first_byte <= exchange.duration,
            "{exchange:?}"
        );
    }
    if let Some(expected) = reference::of_script(&script) {
        assert_eq!(counted.kinds(), expected);
        assert_eq!(counted.unmeasured, []);
    }
}
