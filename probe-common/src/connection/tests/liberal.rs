//! What is not to the letter, but is said and understood in the wild.

use std::{format, vec::Vec};

use super::*;

/// Load balancers pad lengths with blanks, of which any number is allowed (RFC 9110, section 5.6.3): wherever a segment ends, the
/// content is as long as the field says.
#[test]
fn blanks_around_a_length_mean_nothing() {
    for (before, behind) in [(8, 0), (0, 8), (5, 5), (24, 25), (25, 0), (41, 41), (600, 0), (1, 600)] {
        for blank in [" ", "\t", "\t "] {
            let (before, behind) = (blank.repeat(before), blank.repeat(behind));
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length:{before}27{behind}\r\nDate: x\r\n\r\n{GET:27}");
            for mss in [1, 3, 40, 41, 64, 100, usize::MAX >> 1] {
                let mut talk = Conversation::new();
                talk.ask(GET).send(Side::Response, answer.as_bytes(), mss).ask(GET).answer(OK);
                assert_eq!(talk.seen(), ["GET 200", "GET 200"], "{answer:?} by {mss}");
            }
        }
    }
}

#[test]
fn blanks_behind_a_coding_mean_nothing() {
    for blanks in ["     ", "\t\t\t\t\t\t\t\t\t", &" ".repeat(300)] {
        let mut talk = Conversation::new();
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding:{blanks}chunked{blanks}\r\n\r\n");
        talk.ask(GET).answer(&format!("{head}5\r\nhello\r\n0{blanks}\r\n\r\n")).ask(GET).answer(OK);
        assert_eq!(talk.seen(), ["GET 200", "GET 200"], "{head:?}");
    }
}

#[test]
fn a_length_of_blanks_alone_is_bad_wherever_it_is_cut() {
    for blanks in [0, 9, 80] {
        for mss in [1, 41, usize::MAX >> 1] {
            let mut talk = Conversation::new();
            let head = format!("POST / HTTP/1.1\r\nContent-Length:{}\r\n\r\n", " ".repeat(blanks));
            talk.send(Side::Request, head.as_bytes(), mss);
            assert_eq!(talk.unmeasured, [Reason::BadFraming], "{blanks} by {mss}");
        }
    }
}

/// A method is any token (RFC 9110, section 9.1): what a server makes of it is its affair.
#[test]
fn any_token_is_a_method() {
    let long = "A-METHOD-OF-MORE-THAN-FORTY-LETTERS-AND-SOME";
    for method in
        ["patch", "get", "REPORT1", "Foo", "VERSION-CONTROL-AND-MORE-THAN-THAT", "!#$%&'*+-.^_`|~", long]
    {
        for mss in [16, usize::MAX >> 1] {
            let mut talk = Conversation::new();
            let request =
                format!("{method} /some/longer/path/than/is/kept/of/a/line HTTP/1.1\r\nHost: a\r\n\r\n");
            let bad = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            talk.send(Side::Request, request.as_bytes(), mss.max(method.len() + 3))
                .answer(bad)
                .ask(GET)
                .answer(OK);
            assert_eq!(talk.seen(), ["OTHER 400", "GET 200"], "{method} by {mss}");
        }
    }
}

#[test]
fn what_has_no_token_is_no_request() {
    for line in [
        "(GET) / HTTP/1.1",
        "GET: / HTTP/1.1",
        "\"GET / HTTP/1.1",
        "Gr\u{fc}n / HTTP/1.1",
        "GET / HTTP/1.1 200 5",
    ] {
        let mut talk = Conversation::new();
        talk.ask(&format!("{line}\r\n\r\n"));
        assert_eq!((talk.began, talk.exchanges.len()), (0, 0), "{line}");
    }
}

#[test]
fn a_version_may_have_a_tail() {
    let versions = ["HTTP/1.0.8", "HTTP/1.1 ", "HTTP/1.1 \t \t           ", "HTTP/1.10", "HTTP/1.1-device.7"];
    for version in versions {
        let mut talk = Conversation::new();
        talk.ask(&format!("GET / {version}\r\nHost: a\r\n\r\n")).answer(OK);
        assert_eq!(talk.seen(), ["GET 200"], "{version:?}");
    }
    let seen: Vec<_> = ["GET /HTTP/1.1", "GET / HTTP/1.x", "GET / HTTP/1."]
        .iter()
        .map(|line| Conversation::new().ask(&format!("{line}\r\n\r\n")).began)
        .collect();
    assert_eq!(seen, [0, 0, 0]);
}
