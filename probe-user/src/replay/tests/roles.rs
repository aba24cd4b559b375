//! Captures that begin in the middle of connections: who is the server?

use super::{
    escaped, kinds, nothing_escaped, only, replayed,
    wire::{
        GET, MS, OK,
        Sender::{Client, Server},
        Wire,
    },
};

#[test]
fn it_is_who_gets_a_request() {
    let mut wire = Wire::between("10.0.0.2:1000", "10.0.0.1:50000");
    // The rest of an answer, and then a request.
    wire.say(Server, b"rest of something").ack(Client).wait(MS).ask(GET).wait(MS).answer(OK);
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!((service.service.as_str(), kinds(service)), ("10.0.0.1:50000", vec!["GET 200: 1".to_owned()]));
    assert!((service.duration.sum_seconds - 0.001).abs() < 1e-9);
    assert_eq!((service.bytes.received, service.bytes.sent), (27, 43 + 17));
    assert_eq!((service.connections.joined, service.connections.opened, service.connections.open), (1, 0, 1));
}

#[test]
fn it_is_who_answers() {
    let mut wire = Wire::between("10.0.0.2:1000", "10.0.0.1:50000");
    wire.answer(OK).ask(GET).answer(OK);
    let report = replayed(&wire.packets);
    assert_eq!(only(&report).service, "10.0.0.1:50000");
    assert_eq!(kinds(only(&report)), ["GET 200: 1"], "the first answer is to a request before the capture");
}

#[test]
fn it_is_who_answers_the_syn_of_another_connection() {
    let mut other = Wire::between("10.0.0.3:1001", "10.0.0.1:50000");
    other.shake();
    let mut wire = Wire::between("10.0.0.2:1000", "10.0.0.1:50000");
    wire.say(Client, b"nothing that anybody knows").say(Server, b"no more than this");
    let report = replayed(&[other.packets, wire.packets].concat());
    assert_eq!(only(&report).service, "10.0.0.1:50000");
    assert_eq!(only(&report).connections.joined, 1);
}

#[test]
fn it_is_who_answers_a_syn_that_is_not_in_the_capture() {
    let mut wire = Wire::between("10.0.0.2:1000", "10.0.0.1:50000");
    wire.syn();
    wire.packets.clear();
    wire.syn_ack().ack(Client).ask(GET).answer(OK).close();
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!((service.service.as_str(), kinds(service)), ("10.0.0.1:50000", vec!["GET 200: 1".to_owned()]));
    assert_eq!((service.connections.opened, service.connections.joined), (1, 0));
}

#[test]
fn it_is_who_has_the_lower_port_where_nothing_else_tells() {
    let mut wire = Wire::between("10.0.0.2:40000", "10.0.0.1:5432");
    wire.say(Client, b"\x00\x00\x00\x08").say(Server, b"N").close();
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!(service.service, "10.0.0.1:5432");
    assert_eq!((service.bytes.received, service.bytes.sent), (4, 1));
    assert_eq!((service.connections.joined, service.connections.closed), (1, 1));
}

#[test]
fn a_capture_may_begin_within_a_body() {
    let mut wire = Wire::between("10.0.0.2:40000", "10.0.0.1:80");
    for _ in 0..100 {
        wire.say(Server, &[b'x'; 1000]).ack(Client);
    }
    wire.ask(GET).answer(OK).ask(GET).answer(OK);
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 2"]);
    assert_eq!(service.bytes.sent, 100_000 + 2 * 43);
}

#[test]
fn an_answer_alone_is_joined_late_at_most() {
    let mut wire = Wire::new();
    wire.answer("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n").say(Server, &[0; 2000]).close();
    let report = replayed(&wire.packets);
    assert_eq!(only(&report).requests, 0);
    assert_eq!(only(&report).service, "10.0.0.1:80");
    assert_eq!(escaped(&report), [("joined_late", 1)]);
}

/// Of LDAP, say: neither end says anything that looks like HTTP.
#[test]
fn a_joined_connection_of_another_protocol_is_opaque() {
    for turns in [1, 5, 30] {
        let mut wire = Wire::new();
        for _ in 0..turns {
            wire.say(Client, b"0\x0c\x02\x01\x03search").wait(MS).say(Server, b"0\x0c\x02\x01\x04found");
        }
        let report = replayed(&wire.packets);
        assert_eq!(escaped(&report), [("opaque_protocol", 1)], "{turns} turns");
        assert_eq!(only(&report).requests, 0);
    }
}
