//! Conversations to be tried.

use probe_fuzz::conversation::{Content, Turn};
use proptest::prelude::*;

/// What looks like messages, for bodies.
const DECOYS: [&str; 5] = [
    "GET / HTTP/1.1\r\nHost: decoy\r\n\r\n",
    "HTTP/1.1 500 Decoy\r\nContent-Length: 0\r\n\r\n",
    "POST /decoy HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "\r\n0\r\n\r\n",
    "x",
];
const METHODS: [&str; 15] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "QUERY",
    "CONNECT",
    "BREW",
    "M-SEARCH",
    "patch",
    "REPORT1",
    "A-METHOD-OF-MORE-THAN-24-LETTERS",
];
const STATUSES: [u16; 10] = [200, 201, 204, 205, 301, 304, 404, 431, 500, 599];

/// What bodies are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// What looks like messages, so that only framing tells that it is none.
    Decoys,
    /// What looks like nothing, so that even a segment of which nothing is known is not taken for a message.
    Plain,
}

fn body(bodies: Bodies) -> impl Strategy<Value = Vec<u8>> {
    let parts = if bodies == Bodies::Decoys { &DECOYS[..] } else { &["plain ", "{\"a\": 1}"][..] };
    prop::collection::vec(prop::sample::select(parts), 0..12).prop_map(|parts| parts.concat().into_bytes())
}

fn chunked(bodies: Bodies) -> impl Strategy<Value = Content> {
    let chunk = body(bodies).prop_filter("a chunk of no bytes would be the last", |chunk| !chunk.is_empty());
    let extension = prop::sample::select(&["", ";name=value", " ;a=\"b c\""][..]);
    let trailer =
        prop::sample::select(&["", "Content-Length: 7\r\n", "X-Sum: 1\r\nTransfer-Encoding: x\r\n"][..]);
    (prop::collection::vec(chunk, 0..4), extension, trailer)
        .prop_map(|(chunks, extension, trailer)| Content::Chunked { chunks, extension, trailer })
}

fn framed(bodies: Bodies) -> impl Strategy<Value = Content> {
    prop_oneof![3 => body(bodies).prop_map(Content::Sized), 2 => chunked(bodies)]
}

/// Fields that frame nothing, of up to 16 KiB.
fn fields() -> impl Strategy<Value = String> {
    let long = prop_oneof![8 => 0_usize..60, 3 => 60_usize..700, 1 => 10_000_usize..16_000];
    let start = prop::sample::select(
        &["", "Host: a\r\n", "Content-Type: a\r\nContent-Language: b\r\nTransfer: c\r\n"][..],
    );
    (start, long).prop_map(|(start, length)| format!("{start}Cookie: {}\r\n", "c".repeat(length)))
}

fn target(method: &'static str) -> BoxedStrategy<String> {
    let long = 0..900_usize;
    match method {
        "CONNECT" => Just("host.example:443".to_owned()).boxed(),
        "OPTIONS" => Just("*".to_owned()).boxed(),
        _ => (prop::sample::select(&["/", "http://a/"][..]), long)
            .prop_map(|(start, length)| format!("{start}{}", "p".repeat(length)))
            .boxed(),
    }
}

/// A request with an answer that ends by itself.
pub(crate) fn turn(bodies: Bodies) -> impl Strategy<Value = Turn> {
    let method = prop::sample::select(&METHODS[..]);
    method.prop_flat_map(move |method| {
        let asks = prop_oneof![2 => Just(Content::None), 1 => framed(bodies)].boxed();
        let content = if method == "CONNECT" { Just(Content::None).boxed() } else { asks };
        let interim = prop::collection::vec(prop::sample::select(&[100_u16, 102, 103][..]), 0..3);
        let status = prop::sample::select(&STATUSES[..]);
        (target(method), 0_u8..2, fields(), content, interim, status, framed(bodies), 0_u64..9_000_000_000)
            .prop_map(move |(target, minor, fields, content, interim, status, answer, announced)| {
                let chunks =
                    [&content, &answer].iter().any(|content| matches!(content, Content::Chunked { .. }));
                // CONNECT that is granted switches: those come last.
                let status = if method == "CONNECT" && status < 300 { 407 } else { status };
                let bodiless = method == "HEAD" || status == 204 || status == 304;
                let answer = if bodiless { Content::Announced(announced) } else { answer };
                // HTTP/1.0 has no chunks.
                let minor = if chunks { 1 } else { minor };
                Turn { method, target, minor, fields, content, interim, status, answer }
            })
    })
}

/// One behind which there are no messages any more, and what comes then from each side.
pub(crate) fn last(bodies: Bodies) -> impl Strategy<Value = Option<(Turn, [Vec<u8>; 2])>> {
    let plain = |method, status, answer| Turn {
        method,
        target: if method == "CONNECT" { "a:443" } else { "/last" }.into(),
        minor: 1,
        fields: "Upgrade: x\r\n".into(),
        content: Content::None,
        interim: Vec::new(),
        status,
        answer,
    };
    let closing = body(bodies).prop_map(move |body| {
        Some((Turn { minor: 0, ..plain("GET", 200, Content::UntilClose(body)) }, [Vec::new(), Vec::new()]))
    });
    let switching = (any::<bool>(), body(bodies), body(bodies)).prop_map(move |(tunnel, asked, answered)| {
        let turn =
            if tunnel { plain("CONNECT", 200, Content::None) } else { plain("GET", 101, Content::None) };
        Some((turn, [asked, answered]))
    });
    prop_oneof![1 => Just(None), 1 => closing, 1 => switching]
}
