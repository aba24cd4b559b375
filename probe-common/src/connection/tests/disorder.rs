//! Segments out of order, and segments that nobody sees.

use std::format;

use super::*;

/// Short content in a segment of its own, before the head that announces it.
#[test]
fn content_that_comes_before_its_head_ends_the_message() {
    let mut talk = Conversation::new();
    let head = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    let request = format!("{head}hello");
    talk.sent[Side::Request as usize] = request.clone().into_bytes();
    talk.segment(Side::Request, head.len(), request.len());
    talk.segment(Side::Request, 0, head.len());
    talk.answer(OK).ask(&request).answer(OK);
    assert_eq!(talk.seen(), ["POST 200", "POST 200"]);
}

/// Puts chunked content in the order that leaves a chunk's first line unread.
fn overtake(talk: &mut Conversation, side: Side, head: &str) {
    let pieces = [head, "5\r\nhello\r\n", "5\r\nworld\r\n0\r\nA: b\r\n\r\n"];
    let start = talk.sent[side as usize].len();
    let ends = [0, 1, 2].map(|piece| start + pieces[..=piece].concat().len());
    talk.sent[side as usize].extend_from_slice(pieces.concat().as_bytes());
    talk.segment(side, start, ends[0]);
    talk.segment(side, ends[1], ends[2]);
    talk.segment(side, ends[0], ends[1]);
    assert_eq!(talk.unmeasured, [Reason::EndLost]);
    talk.unmeasured.clear();
}

/// The message whose end was lost, and then one that is out of order as well, on the same side.
#[test]
fn what_follows_a_lost_message_is_found_where_it_begins() {
    let request = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let sized = "PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    let mut talk = Conversation::new();
    overtake(&mut talk, Side::Request, request);
    talk.answer(OK);
    let start = talk.sent[Side::Request as usize].len();
    talk.sent[Side::Request as usize].extend_from_slice(sized.as_bytes());
    talk.segment(Side::Request, start + sized.len() - 5, start + sized.len());
    talk.segment(Side::Request, start, start + sized.len() - 5);
    talk.answer(OK);
    assert_eq!(talk.seen(), ["POST 200", "PUT 200"]);

    let mut talk = Conversation::new();
    talk.ask(GET);
    overtake(&mut talk, Side::Response, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n");
    talk.ask(GET);
    let start = talk.sent[Side::Response as usize].len();
    talk.sent[Side::Response as usize].extend_from_slice(OK.as_bytes());
    talk.segment(Side::Response, start + OK.len() - 5, start + OK.len());
    talk.segment(Side::Response, start, start + OK.len() - 5);
    assert_eq!(talk.seen(), ["GET 404", "GET 200"]);
}

/// A segment that goes by where nobody looks: the one that makes a connection of a handshake, out of order.
#[test]
fn what_is_acknowledged_is_not_waited_for() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    for torn in [20, request.len() - 6, request.len() - 3] {
        let mut talk = Conversation::new();
        talk.sent[Side::Request as usize] = request.as_bytes().to_vec();
        talk.segment(Side::Request, 0, torn);
        talk.acknowledge(Side::Response, OK.as_bytes());
        let lost = torn < request.len() - 5;
        assert_eq!(talk.unmeasured, if lost { &[Reason::EndLost][..] } else { &[] }, "torn at {torn}");
        talk.unmeasured.clear();
        talk.acknowledge(Side::Request, GET.as_bytes());
        talk.acknowledge(Side::Response, OK.as_bytes());
        assert_eq!(talk.seen(), ["POST 200", "GET 200"], "torn at {torn}");
        assert_eq!(talk.fresh[0], (request.len() + GET.len()) as u64);
    }
}

/// In order, or with a FIN, which is acknowledged like a byte: there is nothing to give up.
#[test]
fn acknowledgements_of_what_was_seen_change_nothing() {
    let mut talk = Conversation::new();
    talk.acknowledge(Side::Request, &GET.as_bytes()[..20]);
    talk.acknowledge(Side::Response, b"");
    talk.acknowledge(Side::Request, &GET.as_bytes()[20..]);
    talk.fin(Side::Request);
    talk.sent[Side::Request as usize].push(0);
    talk.acknowledge(Side::Response, OK.as_bytes());
    assert_eq!(talk.seen(), ["GET 200"]);
}

#[test]
fn an_answer_whose_end_was_lost_is_complete_if_both_ends_say_farewell() {
    let answer = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut talk = Conversation::new();
    talk.ask(GET);
    overtake(&mut talk, Side::Response, answer);
    talk.fin(Side::Request).fin(Side::Response).close();
    assert_eq!(talk.seen(), ["GET 404"]);

    let mut talk = Conversation::new();
    talk.ask(GET);
    overtake(&mut talk, Side::Response, answer);
    talk.close();
    assert_eq!(talk.seen(), ["GET 404 cut by the server"], "who leaves without a word");
}

#[test]
fn what_follows_a_fin_has_no_bytes() {
    let mut talk = Conversation::new();
    talk.ask(GET).fin(Side::Request).answer(OK);
    // The acknowledgement of the answer, and of the other FIN: a FIN takes a sequence number.
    talk.deliver(Side::Request, GET.len() + 1, &[], false);
    assert_eq!(talk.fresh, [GET.len() as u64, OK.len() as u64]);
    assert_eq!(talk.seen(), ["GET 200"]);
}

#[test]
fn segments_of_a_body_may_come_in_any_order() {
    let mut talk = Conversation::new();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{}", "b".repeat(4000));
    talk.ask(GET);
    talk.sent[Side::Response as usize] = answer.clone().into_bytes();
    let end = answer.len();
    for (from, to) in [(0, 1000), (2000, 3000), (1000, 2000), (3000, end)] {
        talk.segment(Side::Response, from, to);
    }
    talk.ask(GET).answer(OK);
    assert_eq!(talk.seen(), ["GET 200", "GET 200"]);
    assert_eq!(talk.fresh[1], (end + OK.len()) as u64);
}

#[test]
fn a_head_that_comes_late_is_read_when_it_comes() {
    let mut talk = Conversation::new();
    let answer = format!("HTTP/1.1 503 Busy\r\nContent-Length: 4000\r\n\r\n{}", "b".repeat(4000));
    talk.ask(GET);
    talk.sent[Side::Response as usize] = answer.clone().into_bytes();
    talk.segment(Side::Response, 1000, 2000);
    talk.segment(Side::Response, 0, 1000);
    talk.segment(Side::Response, 2000, answer.len());
    assert_eq!(talk.seen(), ["GET 503"]);
}

#[test]
fn a_head_that_is_torn_is_counted_at_the_turn_and_told() {
    let mut talk = Conversation::new();
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello";
    talk.ask(GET);
    talk.sent[Side::Response as usize] = answer.as_bytes().to_vec();
    talk.segment(Side::Response, 30, answer.len());
    talk.segment(Side::Response, 0, 30);
    assert_eq!(talk.unmeasured, [Reason::EndLost]);
    talk.unmeasured.clear();
    talk.ask(GET).answer(OK);
    assert_eq!(talk.seen(), ["GET 404", "GET 200"]);
}

#[test]
fn a_fin_that_overtakes_content_waits_for_it() {
    let mut talk = Conversation::new();
    let answer = "HTTP/1.1 200 OK\r\n\r\nsomething";
    talk.ask(GET).wait(1).answer(&answer[..answer.len() - 4]);
    talk.sent[Side::Response as usize] = answer.as_bytes().to_vec();
    talk.fin(Side::Response).wait(4).segment(Side::Response, answer.len() - 4, answer.len());
    assert_eq!(talk.seen(), [""; 0]);
    talk.close();
    assert_eq!(talk.seen(), ["GET 200"]);
    assert_eq!(talk.exchanges[0].duration, 5);
}

#[test]
fn what_was_sent_again_counts_once() {
    let mut talk = Conversation::new();
    talk.ask(GET);
    talk.segment(Side::Request, 0, GET.len());
    talk.answer(OK);
    talk.segment(Side::Response, 0, OK.len());
    talk.segment(Side::Response, 10, OK.len());
    assert_eq!(talk.seen(), ["GET 200"]);
    assert_eq!(talk.fresh, [GET.len() as u64, OK.len() as u64]);
}

#[test]
fn what_is_sent_again_is_told_from_what_is_new() {
    let mut talk = Conversation::new();
    let mut send = |side, offset: u32, length, fin| {
        let sequence = at(side).wrapping_add(offset);
        talk.connection.accept(&Segment { side, sequence, length, acknowledged: None, fin }).again
    };
    assert!(!send(Side::Request, 0, 100, false));
    assert!(send(Side::Request, 0, 100, false) && send(Side::Request, 40, 10, false));
    assert!(!send(Side::Request, 90, 20, false), "ten bytes of it are new");
    assert!(!send(Side::Request, 110, 0, false), "a bare acknowledgement");
    assert!(!send(Side::Request, 110, 0, true) && send(Side::Request, 110, 0, true), "an end, and again");
    assert!(!send(Side::Response, 0, 5, true) && send(Side::Response, 0, 5, true));
}

#[test]
fn the_rest_of_a_request_line_is_no_request_when_its_start_was_lost() {
    let mut talk = Conversation::new();
    let torn = "OPTIONS * HTTP/1.1\r\n\r\n";
    talk.ask(GET).answer(OK).ask("GET / HTTP/1.1\r\nHos");
    // The end of this head comes before the rest of it, and the next request in two segments.
    talk.sent[0].extend_from_slice(b"t: a\r\n\r\n");
    let end = talk.sent[0].len();
    talk.segment(Side::Request, end - 4, end);
    talk.segment(Side::Request, end - 8, end - 4);
    talk.answer(OK);
    assert_eq!(talk.unmeasured, [Reason::EndLost]);
    talk.unmeasured.clear();
    let end = talk.sent[0].len();
    talk.sent[0].extend_from_slice(torn.as_bytes());
    talk.segment(Side::Request, end + 4, end + torn.len());
    talk.acknowledge(Side::Response, OK.as_bytes());
    talk.ask(GET).answer(OK);
    assert_eq!(talk.unmeasured, [Reason::HeadLost], "the answer to what was lost is not told again");
    talk.unmeasured.clear();
    assert_eq!(talk.seen(), ["GET 200"; 3]);
}

#[test]
fn answers_behind_a_gap_that_nothing_filled_are_not_aborted() {
    let mut talk = Conversation::new();
    talk.ask(GET);
    talk.sent[1] = OK.as_bytes().to_vec();
    talk.segment(Side::Response, 10, OK.len());
    talk.close();
    assert_eq!(talk.unmeasured, [Reason::HeadLost]);
    assert_eq!((talk.exchanges.len(), talk.began, talk.ended, talk.connection.missed()), (0, 1, 1, 0));
}

#[test]
fn requests_behind_a_gap_that_nothing_filled_are_told_in_the_end() {
    let mut talk = Conversation::new();
    talk.ask(GET).answer(OK);
    assert_eq!(talk.connection.missed(), 0);
    let begin = talk.sent[0].len();
    talk.sent[0].extend_from_slice(GET.repeat(2).as_bytes());
    talk.segment(Side::Request, begin + 5, begin + 2 * GET.len());
    assert_eq!(talk.connection.missed(), 1);
    talk.close();
    assert_eq!(talk.seen(), ["GET 200"]);
}

#[test]
fn the_rest_of_a_request_line_is_no_request_even_before_one_was_read() {
    let mut talk = Conversation::new();
    let asked = format!("{GET}OPTIONS * HTTP/1.1\r\n\r\n{GET}");
    talk.sent[0] = asked.clone().into_bytes();
    let (line, last) = (GET.len() + 4, asked.len() - GET.len());
    for (from, to) in [(4, line), (0, 4), (line, last), (last, asked.len())] {
        talk.segment(Side::Request, from, to);
    }
    talk.answer(OK);
    assert_eq!(talk.unmeasured, [Reason::HeadLost]);
    talk.unmeasured.clear();
    assert_eq!(talk.seen(), ["GET 200"]);
}
