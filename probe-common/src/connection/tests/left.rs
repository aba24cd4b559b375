//! Connections that end before an answer has: who left first.

use super::*;
use crate::service::Role;

const DOWNLOAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\nsome";
const STREAM: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const OPEN_ENDED: &str = "HTTP/1.0 200 OK\r\n\r\nsome";

type End = fn(&mut Conversation) -> &mut Conversation;

/// Every way for a side to be the first to leave.
const CLIENT_LEAVES: [End; 4] = [
    |talk| talk.fin(Side::Request),
    |talk| talk.reset(Side::Request),
    |talk| talk.fin(Side::Request).fin(Side::Response),
    |talk| talk.fin(Side::Request).reset(Side::Response),
];
const SERVER_LEAVES: [End; 4] = [
    |talk| talk.fin(Side::Response),
    |talk| talk.reset(Side::Response),
    |talk| talk.fin(Side::Response).fin(Side::Request),
    |talk| talk.fin(Side::Response).reset(Side::Request),
];

#[track_caller]
fn assert_left(answer: &str, ends: [End; 4], expected: &str) {
    for (number, end) in ends.into_iter().enumerate() {
        for role in [Role::Server, Role::Client] {
            let mut talk = Conversation::new();
            talk.connection.role = role as u8;
            talk.ask(GET).answer(answer).wait(9);
            end(&mut talk).close();
            assert_eq!(talk.seen(), [expected], "end {number} at {role:?}");
            assert_eq!(talk.exchanges[0].duration, 9);
        }
    }
}

#[test]
fn a_request_without_an_answer_is_cancelled_or_aborted_by_who_left_first() {
    assert_left("", CLIENT_LEAVES, "GET cancelled");
    assert_left("", SERVER_LEAVES, "GET aborted");
    // An interim response is no answer.
    assert_left("HTTP/1.1 100 Continue\r\n\r\n", CLIENT_LEAVES, "GET cancelled");
}

#[test]
fn a_status_stands_and_an_answer_that_is_cut_short_says_by_whom() {
    for answer in [DOWNLOAD, STREAM, "HTTP/1.1 200 OK\r\nServ"] {
        assert_left(answer, CLIENT_LEAVES, "GET 200 cut by the client");
        assert_left(answer, SERVER_LEAVES, "GET 200 cut by the server");
    }
}

/// Clients of HTTP/1.0 may say early that they will not ask again.
#[test]
fn an_answer_that_ends_with_the_connection_is_whole_unless_somebody_resets_it() {
    for (end, expected) in [
        ((|talk| talk.fin(Side::Response)) as End, "GET 200"),
        (|talk| talk.fin(Side::Request).fin(Side::Response), "GET 200"),
        (|talk| talk.fin(Side::Request).reset(Side::Request), "GET 200 cut by the client"),
        (|talk| talk.reset(Side::Request), "GET 200 cut by the client"),
        (|talk| talk.reset(Side::Response), "GET 200 cut by the server"),
    ] {
        let mut talk = Conversation::new();
        talk.ask("GET / HTTP/1.0\r\n\r\n").answer(OPEN_ENDED);
        end(&mut talk).close();
        assert_eq!(talk.seen(), [expected]);
    }
}

/// The reset of a socket that is closed at once comes behind its end.
#[test]
fn who_leaves_without_a_word_is_this_end() {
    for (role, without, with) in [
        (Role::Server, "GET aborted", "GET 200 cut by the server"),
        (Role::Client, "GET cancelled", "GET 200 cut by the client"),
    ] {
        for (answer, expected) in [("", without), (DOWNLOAD, with), (OPEN_ENDED, with)] {
            let mut talk = Conversation::new();
            talk.connection.role = role as u8;
            talk.ask(GET).answer(answer).close();
            assert_eq!(talk.seen(), [expected], "{role:?}");
        }
    }
}

#[test]
fn each_request_that_waits_is_cancelled() {
    let mut talk = Conversation::new();
    talk.ask(GET).answer(OK).ask(GET).ask(GET).wait(9).reset(Side::Request).close();
    assert_eq!(talk.seen(), ["GET 200", "GET cancelled", "GET cancelled"]);
    assert_eq!(talk.exchanges[2].duration, 9);
}

#[test]
fn a_connection_that_is_used_again_has_not_ended() {
    let mut connection = Connection { role: Role::Server as u8, ..Connection::default() };
    connection.note_end(Side::Request, false, true);
    assert!(connection.is_reset());
    connection.forget_ends();
    assert!(!connection.is_reset() && !connection.client_left());
    connection.note_end(Side::Response, true, false);
    connection.note_end(Side::Request, true, false);
    assert!(!connection.client_left());
}
