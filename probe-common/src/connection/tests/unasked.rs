//! Answers that nothing waited for, requests that are malformed, and what is never recognised: one escape, one reason.

use std::{format, vec::Vec};

use super::*;

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone";
const TIMEOUT: &str = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\nbye";
const BAD: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

#[test]
fn an_answer_that_nobody_asked_for_is_told_and_the_next_request_counts() {
    for unasked in [NOT_FOUND, TIMEOUT] {
        for mss in [1, 7, 1000] {
            let mut talk = Conversation::new();
            talk.send(Side::Response, unasked.as_bytes(), mss).ask(GET).answer(OK).close();
            assert_eq!(talk.unmeasured, [Reason::UnsolicitedResponse], "{unasked:?} by {mss}");
            talk.unmeasured.clear();
            assert_eq!(talk.seen(), ["GET 200"], "{unasked:?} by {mss}");
        }
    }
}

/// With a 408 a server takes its leave of a connection on which nothing is asked.
#[test]
fn a_servers_farewell_is_not_joined_late() {
    for farewell in [TIMEOUT, BAD] {
        let mut talk = Conversation::new();
        talk.ask("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab").answer(OK).answer(farewell).close();
        assert_eq!(talk.unmeasured, [Reason::UnsolicitedResponse]);
        talk.unmeasured.clear();
        assert_eq!(talk.seen(), ["POST 200"]);
    }
}

#[test]
fn a_joined_connection_that_begins_with_an_answer_was_joined_late() {
    for answer in [OK, NOT_FOUND, "HTTP/1.1 200 OK\r\n\r\nuntil the end"] {
        for mss in [9, 1000] {
            let mut talk = Conversation::joined();
            talk.send(Side::Response, answer.as_bytes(), mss).ask(GET).answer(OK).answer(TIMEOUT).close();
            let told = [Reason::JoinedLate, Reason::UnsolicitedResponse];
            assert_eq!(talk.unmeasured, told, "{answer:?} by {mss}");
            talk.unmeasured.clear();
            assert_eq!(talk.seen(), ["GET 200"], "{answer:?} by {mss}");
        }
    }
}

/// The first answer of a connection that was joined late is not there: only the rest of it, or nothing.
#[test]
fn a_joined_connections_first_answer_that_went_by_is_a_head_lost() {
    for rest in [&[][..], &["the rest of an answer"], &["the rest", "of a long\r\n answer"]] {
        let mut talk = Conversation::joined();
        talk.ask(GET);
        for piece in rest {
            talk.answer(piece);
        }
        talk.ask(GET).answer(OK).fin(Side::Request).fin(Side::Response).close();
        let (told, seen): (&[Reason], &[&str]) = match rest {
            // It is not known that anything was lost: the answer to the first is the other's.
            [] => (&[], &["GET 200", "GET cancelled"]),
            _ => (&[Reason::HeadLost], &["GET 200"]),
        };
        assert_eq!(talk.unmeasured, told, "{rest:?}");
        talk.unmeasured.clear();
        assert_eq!(talk.seen(), seen, "{rest:?}");
        assert_eq!((talk.began, talk.ended), (2, 2));
    }
}

#[test]
fn a_malformed_request_counts_by_its_answer() {
    for line in ["GET /", "GET / HTTP/2.0", "GET / http/1.1", "\u{16}\u{3}\u{1}x", "(x) / HTTP/1.1"] {
        let mut talk = Conversation::new();
        talk.wait(5).ask(&format!("{line}\r\n\r\n")).wait(7).answer(BAD).close();
        assert_eq!(talk.seen(), ["OTHER 400"], "{line:?}");
        assert_eq!((talk.began, talk.ended, talk.exchanges[0].duration), (1, 1, 7), "{line:?}");
        let mut talk = Conversation::new();
        talk.ask(GET).answer(OK).ask(&format!("{line}\r\n\r\n")).answer(BAD).close();
        assert_eq!(talk.seen(), ["GET 200", "OTHER 400"], "{line:?}");
    }
}

#[test]
fn a_malformed_request_without_an_answer_is_told_once() {
    let mut talk = Conversation::new();
    talk.ask(GET).answer(OK).ask("GET /\r\n").ask("more").close();
    assert_eq!(talk.unmeasured, [Reason::BadFraming]);
    let mut talk = Conversation::new();
    talk.ask("GET /\r\n").ask("more").close().close();
    assert_eq!((talk.unmeasured.as_slice(), talk.began), (&[Reason::OpaqueProtocol][..], 0));
}

/// Few words of something else on a connection that was joined late, as in many captures.
#[test]
fn what_was_never_recognised_is_opaque_in_the_end() {
    let mut talk = Conversation::joined();
    for _ in 0..5 {
        talk.ask("0\u{c}\u{2}\u{1}\u{3}search").answer("0\u{c}\u{2}\u{1}\u{4}found");
    }
    assert_eq!(talk.unmeasured, []);
    talk.close();
    assert_eq!(talk.unmeasured, [Reason::OpaqueProtocol]);
    assert_eq!(talk.connection.protocol, Protocol::Opaque);
}

/// However its first line is malformed, cut and followed: the request is lost once, and nothing of it stays in flight.
#[test]
fn a_malformed_answer_has_one_reason() {
    let lines = ["HTTP/1.1 20x OK", "HTTP/2.0 200 OK", "ICY 200 OK", "hello", "HTTP/1.1", "<html>\nbody"];
    for line in lines {
        for mss in [1, 5, 30, 1000] {
            for more in [false, true] {
                for farewell in [false, true] {
                    let mut talk = Conversation::new();
                    let answer = format!("{line}\r\nContent-Length: 5\r\n\r\nhello");
                    talk.ask(GET).send(Side::Response, answer.as_bytes(), mss);
                    if more {
                        talk.ask(GET).answer(OK);
                    }
                    if farewell {
                        talk.fin(Side::Request).fin(Side::Response);
                    }
                    talk.close();
                    let what = format!("{line:?} by {mss}, more: {more}, farewell: {farewell}");
                    assert_eq!(talk.unmeasured, [Reason::BadFraming], "{what}");
                    assert_eq!(talk.exchanges.len(), usize::from(more), "{what}");
                    assert_eq!(
                        (talk.began, talk.ended),
                        (1 + u32::from(more), 1 + u32::from(more)),
                        "{what}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_refused_content_is_not_waited_for() {
    let refused = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    for framing in ["Content-Length: 500", "Transfer-Encoding: chunked"] {
        let put = format!("PUT / HTTP/1.1\r\nExpect: 100-continue\r\n{framing}\r\n\r\n");
        let mut talk = Conversation::new();
        talk.ask(&put).answer(refused).ask(GET).answer(OK).ask(GET).answer(OK);
        assert_eq!(talk.seen(), ["PUT 417", "GET 200", "GET 200"], "{framing}");
        // It comes all the same, and the next request behind it.
        let mut talk = Conversation::new();
        let content = "b".repeat(250);
        talk.ask(&put).answer(refused).ask(&content).ask(&content).ask(GET).answer(OK);
        assert_eq!(talk.seen(), ["PUT 417", "GET 200"], "{framing}");
    }
}

#[test]
fn pipelines_of_any_depth_are_counted() {
    for (writes, each) in [(5, 64), (200, 1)] {
        let mut talk = Conversation::new();
        for _ in 0..writes {
            talk.wait(10).ask(&GET.repeat(each));
        }
        talk.wait(10).answer(&OK.repeat(writes * each)).ask("HEAD / HTTP/1.1\r\n\r\n");
        talk.answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        let told: Vec<_> = talk.unmeasured.drain(..).collect();
        assert!(told.iter().all(|reason| *reason == Reason::PipelineTooDeep), "{told:?}");
        assert_eq!(told.len(), (writes * each).saturating_sub(32 * each), "{writes} of {each}");
        let mut seen = talk.seen();
        assert_eq!(seen.pop().as_deref(), Some("HEAD 200"));
        assert_eq!(seen, std::vec!["GET 200"; writes * each], "{writes} of {each}");
    }
}
