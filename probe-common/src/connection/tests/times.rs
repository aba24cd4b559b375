//! When requests begin and end, and where their time went.

use super::*;

#[test]
fn a_request_and_its_answer_are_one_exchange_with_its_times() {
    let mut talk = Conversation::new();
    talk.ask(GET).wait(30).answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").wait(12).answer("llo");
    assert_eq!(talk.seen(), ["GET 200"]);
    let exchange = talk.exchanges[0];
    assert_eq!((exchange.first_byte, exchange.duration), (30, 42));
}

#[test]
fn times_count_from_the_first_byte_even_of_a_split_line() {
    let mut talk = Conversation::new();
    talk.ask("G").wait(5).ask("ET / HTTP/1.1\r\n\r\n").wait(7).answer("HT").wait(2);
    talk.answer("TP/1.1 204 No Content\r\n\r\n");
    let exchange = talk.exchanges[0];
    assert_eq!((exchange.first_byte, exchange.duration), (12, 14));
}

#[test]
fn where_the_time_went_adds_up_to_the_first_byte() {
    let mut talk = Conversation::new();
    talk.ask(GET).wait(30);
    talk.connection.pending.note_read(talk.now);
    talk.wait(12).answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").wait(100).answer("llo");
    talk.ask(GET).wait(9).answer(OK);
    let phases = |i: usize| (talk.exchanges[i].queue, talk.exchanges[i].service());
    assert_eq!(phases(0), (30, 12));
    assert_eq!(phases(1), (9, 0), "answered before it was read");
}

#[test]
fn an_answer_is_delivered_when_the_client_has_acknowledged_all_of_it() {
    let mut talk = Conversation::new();
    talk.ask(&GET.repeat(2)).answer(OK).wait(50).answer(OK);
    let first = RESPONSE_AT.wrapping_add(OK.len() as u32);
    let mut acknowledge = |acknowledged: u32| {
        let end = REQUEST_AT.wrapping_add(2 * GET.len() as u32);
        let segment = Segment {
            side: Side::Request,
            sequence: end,
            length: 0,
            acknowledged: Some(acknowledged),
            fin: false,
        };
        let delivers = talk.connection.delivers(&segment);
        let delivered = talk.connection.deliver(acknowledged).map(|delivery| delivery.began);
        assert_eq!(delivers, delivered.is_some());
        delivered
    };
    assert_eq!(acknowledge(first.wrapping_sub(1)), None);
    assert_eq!(acknowledge(first), Some(1_000));
    assert_eq!(acknowledge(first), None);
    assert_eq!(talk.connection.undelivered(), 1);
}

#[test]
fn requests_begin_and_end_in_pairs() {
    let mut talk = Conversation::new();
    let until_close = "HTTP/1.1 200 OK\r\n\r\nsomething";
    talk.ask(&GET.repeat(40)).answer(&OK.repeat(40)).ask(GET).answer(until_close).ask(GET).ask(GET).close();
    assert_eq!((talk.began, talk.ended), (40 + 3, 40 + 3));
    assert_eq!(talk.seen().len(), 43);
}

#[test]
fn an_answer_of_bad_framing_lasts_to_the_last_segment_that_bore_it() {
    let mut talk = Conversation::new();
    talk.ask(GET).wait(7).answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n");
    talk.wait(5).ask(GET).wait(1).answer(OK);
    assert_eq!(talk.unmeasured, [Reason::BadFraming]);
    assert_eq!((talk.exchanges[0].first_byte, talk.exchanges[0].duration), (7, 7));
}
