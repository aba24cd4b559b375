//! However a conversation is cut, and whatever comes.

use std::{format, string::String, vec::Vec};

use proptest::prelude::*;

use super::*;

/// A message of either direction, with what it is.
fn message(index: usize) -> (String, String, &'static str) {
    let body = GET.repeat(index % 5);
    let length = body.len();
    match index % 6 {
        0 => (GET.into(), OK.into(), "GET 200"),
        1 => (
            format!(
                "POST /f HTTP/1.1\r\nX-Long: {}\r\nContent-Length: {length}\r\n\r\n{body}",
                "x".repeat(70)
            ),
            format!(
                "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}0\r\n{}\r\n0\r\n\r\n",
                body.repeat(16)
            ),
            "POST 404",
        ),
        2 => (
            "HEAD / HTTP/1.1\r\n\r\n".into(),
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
            "HEAD 200",
        ),
        3 => (
            format!(
                "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: {length}\r\n\r\n"
            ),
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".into(),
            "PUT 201",
        ),
        4 => (
            "BREW / HTTP/1.1\r\n\r\n".into(),
            "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n".into(),
            "OTHER 304",
        ),
        _ => (
            format!("DELETE /{} HTTP/1.1\r\n\r\n", "d".repeat(600)),
            format!("HTTP/1.1 500 Oh\r\nServer: {}\r\ncontent-length: 10\r\n\r\n0123456789", "s".repeat(900)),
            "DELETE 500",
        ),
    }
}

proptest! {
    /// However a pipelined conversation is cut, and whatever is delivered twice, the exchanges are those that were
    /// written down.
    #[test]
    fn any_segmentation_gives_the_same_exchanges(
        kinds in prop::collection::vec(0_usize..60, 1..24),
        cuts in prop::collection::vec(1_usize..700, 1..40),
        again in prop::collection::vec(any::<bool>(), 40),
    ) {
        let messages: Vec<_> = kinds.into_iter().map(message).collect();
        let mut talk = Conversation::new();
        // A chunk of size "00" would end the body early: such bodies are written without that chunk.
        let fix = |answer: &str| answer.replace("\r\n\r\n00\r\n\r\n0\r\n", "\r\n\r\n0\r\n");
        talk.sent[0] = messages.iter().flat_map(|(ask, _, _)| ask.bytes()).collect();
        talk.sent[1] = messages.iter().flat_map(|(_, answer, _)| fix(answer).into_bytes()).collect();
        for side in [Side::Request, Side::Response] {
            let (mut from, mut i) = (0, 0);
            let end = talk.sent[side as usize].len();
            while from < end {
                let to = (from + cuts[i % cuts.len()]).min(end);
                talk.segment(side, from, to);
                if again[i % again.len()] {
                    talk.segment(side, from.saturating_sub(3), to);
                }
                (from, i) = (to, i + 1);
            }
        }
        let expected: Vec<_> = messages.iter().map(|(_, _, what)| *what).collect();
        prop_assert_eq!(talk.seen(), expected);
        prop_assert_eq!(talk.fresh, [talk.sent[0].len() as u64, talk.sent[1].len() as u64]);
    }

    /// Whatever comes, nothing panics, and no loop goes on without an end.
    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        cuts in prop::collection::vec((0_usize..3000, 0_usize..3000, any::<bool>()), 1..30),
        prefix in prop::sample::select(vec!["", GET, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"]),
    ) {
        let mut talk = Conversation::new();
        for side in [Side::Request, Side::Response] {
            talk.sent[side as usize] = [prefix.as_bytes(), &bytes].concat();
        }
        for (a, b, response) in cuts {
            let side = if response { Side::Response } else { Side::Request };
            let end = talk.sent[side as usize].len();
            let (from, to) = (a.min(b).min(end), a.max(b).min(end));
            talk.segment(side, from, to);
        }
        talk.close();
    }
}
