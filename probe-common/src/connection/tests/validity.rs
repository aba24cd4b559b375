//! What TCP would not take: forged segments, and how far they come.

use super::*;
use crate::{
    connection::validity::{
        Numbers, Received,
        flags::{ACK, FIN, RST, SYN},
    },
    service::Role,
};

/// A server's connection that has had a request and its answer, and offers a window of 64,000 bytes.
fn server() -> Conversation {
    let mut conversation = Conversation::new();
    conversation.connection.role = Role::Server as u8;
    conversation.connection.note_scale(Some(7));
    conversation.ask(GET).answer(OK);
    let received = conversation.next(Side::Request);
    conversation.connection.note_window(received, 500);
    conversation
}

impl Conversation {
    fn next(&self, side: Side) -> u32 {
        at(side).wrapping_add(self.sent[side as usize].len() as u32)
    }

    fn numbers(&self) -> Numbers {
        let sent = self.next(Side::Response);
        Numbers {
            received: self.next(Side::Request),
            sent,
            acknowledged: sent,
            acknowledged_bytes: self.sent[Side::Response as usize].len() as u64,
        }
    }

    /// Data from the client at a distance from what has come, which acknowledges at a distance from what was sent.
    fn received(&self, ahead: u32, acknowledged: u32) -> Received {
        Received {
            side: Side::Request,
            flags: ACK,
            sequence: self.next(Side::Request).wrapping_add(ahead),
            length: 10,
            acknowledged: self.next(Side::Response).wrapping_add(acknowledged),
        }
    }

    fn takes(&self, received: &Received) -> bool {
        !self.connection.doubts(received) || self.connection.takes(received, &self.numbers())
    }
}

#[test]
fn what_follows_is_not_even_doubted() {
    let server = server();
    assert!(!server.connection.doubts(&server.received(0, 0)));
    // Sent again, and delayed.
    assert!(!server.connection.doubts(&server.received(10_u32.wrapping_neg(), 5_u32.wrapping_neg())));
}

#[test]
fn data_is_taken_up_to_the_end_of_the_window() {
    let server = server();
    for (ahead, taken) in [(1, true), (1_500, true), (64_000, true), (64_001, false), (1 << 24, false)] {
        assert_eq!(server.takes(&server.received(ahead, 0)), taken, "{ahead}");
    }
    assert!(!server.takes(&server.received((1 << 30) + 1, 0)));
    assert!(!server.takes(&server.received((1 << 31) - 1, 0)));
}

#[test]
fn a_window_of_unknown_scale_is_taken_for_large() {
    let mut server = server();
    server.connection.note_scale(None);
    server.connection.note_window(server.next(Side::Request), 500);
    assert!(server.takes(&server.received(500 << 14, 0)));
    assert!(!server.takes(&server.received((500 << 14) + 1, 0)));
    server.connection.pending.allowed = 0;
    assert!(server.takes(&server.received(1 << 30, 0)));
    assert!(!server.takes(&server.received((1 << 30) + 1, 0)));
    server.connection.note_first_window(server.next(Side::Request));
    assert!(server.takes(&server.received(65_535, 0)));
    assert!(!server.takes(&server.received(65_536, 0)));
}

#[test]
fn a_listener_keeps_the_largest_scale() {
    let mut listener = Connection { stage: Stage::Listening, ..Connection::default() };
    for (scale, kept) in [(None, 0), (Some(7), 8), (Some(2), 8), (None, 8), (Some(200), 15)] {
        listener.note_scale(scale);
        assert_eq!(listener.scale, kept, "{scale:?}");
    }
}

#[test]
fn what_was_never_sent_is_not_acknowledged() {
    let server = server();
    assert!(!server.takes(&server.received(0, 1)));
    assert!(!server.takes(&server.received(0, 1 << 30)));
    // All that was sent so far, and more.
    assert!(server.takes(&server.received(1, (OK.len() as u32).wrapping_neg())));
    assert!(!server.takes(&server.received(1, (OK.len() as u32 + 1).wrapping_neg())));
    assert!(!server.takes(&server.received(0, (1_u32 << 28).wrapping_neg())));
}

#[test]
fn an_end_is_acknowledged_before_the_kernel_notes_that_it_was_sent() {
    let mut server = server();
    assert!(!server.takes(&server.received(0, 1)));
    server.fin(Side::Response);
    assert!(server.takes(&server.received(0, 1)));
    assert!(!server.takes(&server.received(0, 2)));
}

#[test]
fn an_end_that_was_passed_is_none() {
    let server = server();
    let mut end = server.received(0, 0);
    end.flags |= FIN;
    assert!(server.takes(&end));
    end.sequence = end.sequence.wrapping_sub(11);
    assert!(!server.takes(&end), "there is more behind it");
    end.sequence = end.sequence.wrapping_add(1);
    assert!(server.takes(&end), "it ends where all ends that was seen");
    end.sequence = end.sequence.wrapping_add(70_000);
    assert!(!server.takes(&end));
}

#[test]
fn a_reset_is_taken_exactly_where_the_stream_is() {
    let server = server();
    // The second is behind a FIN.
    for (ahead, taken) in [(0, true), (1, true), (2, false), (1_000, false), (1_u32.wrapping_neg(), false)] {
        let mut reset = server.received(ahead, 0);
        reset.flags |= RST;
        assert_eq!(server.takes(&reset), taken, "{ahead}");
    }
    let mut numbers = server.numbers();
    // Where data that came too early waits for what is missing.
    numbers.received = numbers.received.wrapping_sub(100);
    let mut reset = server.received(100_u32.wrapping_neg(), 0);
    reset.flags |= RST;
    assert!(server.connection.takes(&reset, &numbers));
}

#[test]
fn no_connection_begins_within_another() {
    let server = server();
    let mut greeting = server.received(0, 0);
    greeting.flags |= SYN;
    assert!(!server.takes(&greeting));
    // The answer to a SYN once more, whose acknowledgement was lost.
    greeting.length = 0;
    assert!(server.takes(&greeting));
    greeting.flags |= FIN;
    assert!(!server.takes(&greeting));
    greeting.flags &= !FIN;
    greeting.sequence = greeting.sequence.wrapping_add(1);
    assert!(!server.takes(&greeting));
}

#[test]
fn what_acknowledges_nothing_is_a_reset_or_nothing() {
    let server = server();
    let mut silent = server.received(0, 0);
    silent.flags = 0;
    assert!(!server.takes(&silent));
    silent.flags = RST;
    assert!(server.takes(&silent));
}
