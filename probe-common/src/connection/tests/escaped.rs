//! What could not be read.

use std::vec::Vec;

use super::*;

/// The start of an answer, whose rest cannot be read.
fn half_an_answer(talk: &mut Conversation) {
    talk.wait(10).answer("HTTP/1.1 200 OK\r\n").wait(5).unreadable(Side::Response, 700).wait(100);
}

#[test]
fn an_answer_that_escapes_ends_where_it_escaped() {
    let mut talk = Conversation::new();
    half_an_answer(talk.ask(GET));
    talk.ask(GET);
    assert_eq!(talk.unmeasured, [Reason::Unreadable]);
    let [exchange] = talk.exchanges[..] else { panic!("{:?}", talk.exchanges) };
    assert_eq!((exchange.status, exchange.first_byte, exchange.duration), (200, 10, 15));
}

#[test]
fn an_answer_that_escaped_is_one_when_its_connection_ends() {
    let mut talk = Conversation::new();
    half_an_answer(talk.ask(GET));
    talk.fin(Side::Response).fin(Side::Request).close();
    let [exchange] = talk.exchanges[..] else { panic!("{:?}", talk.exchanges) };
    assert_eq!((exchange.status, exchange.duration), (200, 15));
}

#[test]
fn one_that_escaped_before_its_status_is_no_abort() {
    let mut talk = Conversation::new();
    talk.ask(GET).unreadable(Side::Response, 700).fin(Side::Response).fin(Side::Request).close();
    assert_eq!((talk.unmeasured.as_slice(), talk.exchanges.len()), (&[Reason::Unreadable][..], 0));
    assert_eq!((talk.began, talk.ended), (1, 1));
}

/// Else each would wait for the other for ever.
#[test]
fn a_conversation_is_found_again_after_both_sides_have_escaped() {
    let mut talk = Conversation::new();
    talk.ask("GET / HTTP/1.1\r\n").unreadable(Side::Request, 700);
    half_an_answer(&mut talk);
    talk.ask(GET).answer(OK).ask(GET).answer(OK);
    let statuses: Vec<_> = talk.exchanges.iter().map(|exchange| exchange.status).collect();
    assert_eq!(statuses, [200, 200, 200]);
    assert_eq!(talk.unmeasured, [Reason::Unreadable; 2]);
}
