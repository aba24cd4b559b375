//! Where messages begin and end (RFC 9112), and what is no message.

use std::{format, vec::Vec};

use super::*;

#[test]
fn pipelined_requests_in_one_segment_are_counted_each() {
    let mut talk = Conversation::new();
    talk.ask(&GET.repeat(16)).answer(&OK.repeat(16));
    assert_eq!(talk.seen().len(), 16);
}

#[test]
fn what_a_body_contains_is_no_request() {
    let mut talk = Conversation::new();
    let body = GET.repeat(3);
    talk.ask(&format!("POST /u HTTP/1.1\r\ncontent-length:{}\r\n\r\n", body.len())).ask(&body);
    talk.answer("HTTP/1.1 201 Created\r\nCONTENT-LENGTH:  0 \r\n\r\n").ask(GET).answer(OK);
    assert_eq!(talk.seen(), ["POST 201", "GET 200"]);
}

#[test]
fn a_trailer_ends_where_the_next_answer_begins() {
    let mut talk = Conversation::new();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n";
    talk.ask(&GET.repeat(2)).answer(&format!("{chunked}HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(talk.seen(), ["GET 200", "GET 404"]);
}

#[test]
fn a_head_takes_as_few_steps_as_it_can() {
    let mut talk = Conversation::new();
    talk.ask("GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: b\r\n\r\n");
    assert_eq!(talk.steps, 1);
    talk.answer("HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 5\r\nETag: b\r\nVary: c\r\n\r\nhello");
    assert_eq!(talk.steps, 3);
    assert_eq!(talk.seen(), ["GET 200"]);
}

#[test]
fn chunks_are_jumped_over() {
    let mut talk = Conversation::new();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
                   5\r\nhello\r\n1B;name=value\r\nHTTP/1.1 500 Not A Head\r\n\r\n\r\n0\r\nTrailer: x\r\n\r\n";
    talk.ask(GET).answer(chunked).ask(GET).answer(OK);
    assert_eq!(talk.seen(), ["GET 200", "GET 200"]);
}

#[test]
fn answers_without_content_have_none_whatever_they_announce() {
    let mut talk = Conversation::new();
    talk.ask("HEAD / HTTP/1.1\r\n\r\n").answer("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    talk.ask(GET).answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\n\r\n");
    talk.ask(GET).answer("HTTP/1.1 204 No Content\r\n\r\n").ask(GET).answer(OK);
    assert_eq!(talk.seen(), ["HEAD 200", "GET 304", "GET 204", "GET 200"]);
}

#[test]
fn an_interim_answer_is_not_the_answer() {
    let mut talk = Conversation::new();
    talk.ask("PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").wait(1);
    talk.answer("HTTP/1.1 100 Continue\r\n\r\n").ask("abc").wait(1);
    talk.answer("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").wait(1).answer(OK);
    assert_eq!(talk.seen(), ["PUT 200"]);
    assert_eq!(talk.exchanges[0].first_byte, 3);
}

#[test]
fn an_upgrade_is_counted_once_and_then_a_stream() {
    let mut talk = Conversation::new();
    talk.ask("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    talk.answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}GET / HTTP/1.1\r\n\r\n");
    talk.ask(GET).answer(OK).close();
    assert_eq!(talk.seen(), ["GET 101"]);
}

#[test]
fn a_tunnel_is_counted_once_and_then_a_stream() {
    let mut talk = Conversation::new();
    talk.ask("CONNECT a:443 HTTP/1.1\r\n\r\n").answer("HTTP/1.1 200 OK\r\n\r\n").ask(GET).answer(OK).close();
    assert_eq!(talk.seen(), ["CONNECT 200"]);
}

#[test]
fn an_answer_without_length_ends_with_the_connection() {
    let mut talk = Conversation::new();
    talk.ask("GET / HTTP/1.0\r\n\r\n").wait(1).answer("HTTP/1.0 200 OK\r\n\r\nsome").wait(4).answer("thing");
    assert_eq!(talk.seen(), [""; 0]);
    talk.wait(100).fin(Side::Response).close();
    assert_eq!(talk.seen(), ["GET 200"]);
    assert_eq!(talk.exchanges[0].duration, 5, "the last byte counts, not the end");
}

#[test]
fn an_answer_without_length_ends_with_the_turn_of_the_conversation() {
    let mut talk = Conversation::new();
    talk.ask(GET).answer("HTTP/1.1 200 OK\r\n\r\nsomething").ask("GET /2 HTTP/1.1\r\n\r\n").answer(OK);
    assert_eq!(talk.seen(), ["GET 200", "GET 200"]);
}

#[test]
fn an_idle_connection_that_closes_is_no_request() {
    let mut talk = Conversation::new();
    talk.ask(GET).answer(OK).close();
    assert_eq!(talk.seen(), ["GET 200"]);
}

#[test]
fn standard_methods_are_told_apart_and_others_are_one() {
    let mut talk = Conversation::new();
    let methods = "GET HEAD POST PUT DELETE OPTIONS TRACE PATCH QUERY BREW M-SEARCH";
    for method in methods.split(' ') {
        talk.ask(&format!("{method} /x HTTP/1.1\r\n\r\n")).answer("HTTP/1.1 204 No\r\n\r\n");
    }
    let expected: Vec<_> = methods
        .replace("BREW M-SEARCH", "OTHER OTHER")
        .split(' ')
        .map(|method| format!("{method} 204"))
        .collect();
    assert_eq!(talk.seen(), expected);
}

#[test]
fn heads_of_sixteen_kilobytes_are_read() {
    let mut talk = Conversation::new();
    let long = format!(
        "GET /{} HTTP/1.1\r\nCookie: {}\r\nContent-Length: 3\r\n\r\nabc",
        "p".repeat(3000),
        "c".repeat(13_000)
    );
    for mss in [1, 7, 536, 1448, 65_000] {
        talk.send(Side::Request, long.as_bytes(), mss).answer(OK);
    }
    assert_eq!(talk.seen(), ["GET 200"; 5]);
}

#[test]
fn what_is_not_http_is_left_alone() {
    let mut talk = Conversation::new();
    talk.ask("*1\r\n$4\r\nPING\r\n").answer("+PONG\r\n").ask(GET).answer(OK).close();
    assert_eq!(talk.unmeasured, [Reason::OpaqueProtocol]);
    assert_eq!(talk.exchanges, []);
    assert_eq!(talk.connection.protocol, Protocol::Opaque);
}

#[test]
fn a_server_that_speaks_first_is_not_http() {
    let mut talk = Conversation::new();
    talk.answer("220 mail ESMTP\r\n").ask("EHLO a\r\n").close();
    assert_eq!(talk.unmeasured, [Reason::OpaqueProtocol]);
    assert_eq!(talk.exchanges, []);
    assert_eq!(talk.connection.protocol, Protocol::Opaque);
}

#[test]
fn framing_that_contradicts_itself_is_told() {
    for head in ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5x", "Content-Length: -1"] {
        let mut talk = Conversation::new();
        talk.ask(&format!("POST / HTTP/1.1\r\n{head}\r\n\r\nhello"));
        assert_eq!(talk.unmeasured, [Reason::BadFraming], "{head}");
    }
}

#[test]
fn a_connection_older_than_the_probe_is_taken_up_at_the_next_request() {
    let mut talk = Conversation::joined();
    talk.answer("the end of an answer").ask(GET).answer(OK).ask(GET).answer(OK);
    assert_eq!(talk.seen(), ["GET 200", "GET 200"]);
}

#[test]
fn a_connection_joined_within_a_body_is_taken_up_behind_it() {
    let mut talk = Conversation::joined();
    talk.ask("the middle of an upload").ask("and its end").answer(OK);
    assert_eq!(talk.unmeasured, [Reason::JoinedLate]);
    talk.unmeasured.clear();
    talk.ask(GET).answer(OK);
    assert_eq!(talk.seen(), ["GET 200"]);
}
