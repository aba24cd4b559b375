//! How connections begin and end.

use std::io::Cursor;

use super::{
    super::{report::ConnectionCounts, routes::Routes},
    Format, Link, count, file, kinds, nothing_escaped, only, replayed,
    wire::{
        Flags, GET, MS, OK,
        Sender::{Client, Server},
        Wire,
    },
};

fn connections(packets: &[super::Packet]) -> ConnectionCounts {
    only(&replayed(packets)).connections
}

#[test]
fn a_connection_is_opened_and_closed() {
    let mut wire = Wire::open();
    let expected = ConnectionCounts { opened: 1, open: 1, ..Default::default() };
    assert_eq!(connections(&wire.packets), expected);
    wire.fin(Client);
    assert_eq!(connections(&wire.packets), expected, "half-closed");
    wire.fin(Server);
    let expected = ConnectionCounts { opened: 1, closed: 1, ..Default::default() };
    assert_eq!(connections(&wire.packets), expected, "the capture ends before the last acknowledgement");
    wire.ack(Client);
    assert_eq!(connections(&wire.packets), expected);
}

#[test]
fn what_is_refused_or_never_answered_is_no_connection() {
    let mut wire = Wire::new();
    wire.syn();
    let expected = ConnectionCounts { half_open: 1, ..Default::default() };
    assert_eq!(connections(&wire.packets), expected);
    wire.rst(Server);
    let expected = ConnectionCounts { failed: 1, ..Default::default() };
    assert_eq!(connections(&wire.packets), expected);
}

#[test]
fn requests_without_an_answer_are_aborted_when_their_connection_ends() {
    type End = fn(&mut Wire);
    let ends: [(End, bool); 3] = [
        (|wire| _ = wire.rst(Client), true),
        (|wire| _ = wire.rst(Server), true),
        (|wire| _ = wire.fin(Client).fin(Server).ack(Client), false),
    ];
    for (end, reset) in ends {
        let mut wire = Wire::open();
        wire.ask(GET).answer(OK).ask(GET).ask(GET).wait(5 * MS);
        end(&mut wire);
        let report = replayed(&wire.packets);
        nothing_escaped(&report);
        let service = only(&report);
        assert_eq!(kinds(service), ["GET aborted: 2", "GET 200: 1"]);
        assert_eq!((service.requests, service.responses, service.aborted), (3, 1, 2));
        assert_eq!((service.in_flight, service.server_errors), (0, 0));
        assert!((service.duration.max_seconds - 0.005).abs() < 1e-9);
        let expected =
            ConnectionCounts { opened: 1, closed: 1, reset: u64::from(reset), ..Default::default() };
        assert_eq!(service.connections, expected);
    }
}

#[test]
fn requests_without_an_answer_at_the_end_of_the_capture_are_in_flight() {
    let mut wire = Wire::open();
    wire.ask(GET).answer(OK).ask(GET).ask(GET);
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 1"]);
    assert_eq!((service.requests, service.aborted, service.in_flight), (1, 0, 2));
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    for last in [Flags { fin: true, ack: true, ..Flags::default() }, Flags { ack: true, ..Flags::default() }]
    {
        let mut wire = Wire::open();
        wire.ask("GET / HTTP/1.0\r\n\r\n").wait(MS).answer("HTTP/1.0 200 OK\r\n\r\nsome").wait(MS);
        wire.send(Server, last, b"thing");
        if !last.fin {
            wire.wait(MS).rst(Server);
        }
        let report = replayed(&wire.packets);
        let service = only(&report);
        assert_eq!(kinds(service), ["GET 200: 1"]);
        assert!((service.duration.max_seconds - 0.002).abs() < 1e-9);
    }
}

#[test]
fn a_new_connection_of_the_same_ports_is_another() {
    let mut wire = Wire::open();
    wire.ask(GET).answer(OK).ask(GET);
    // The end of this one is not in the capture.
    wire.next = [5_000, 7_000];
    wire.shake().ask(GET).answer(OK).close();
    // And this one follows one whose end is.
    wire.next = [50_000_000, 70_000_000];
    wire.shake().ask(GET).answer(OK).close();
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET aborted: 1", "GET 200: 3"]);
    let expected = ConnectionCounts { opened: 3, closed: 3, reused: 1, ..Default::default() };
    assert_eq!(service.connections, expected);
}

#[test]
fn a_syn_that_is_sent_again_is_no_other_connection() {
    let mut wire = Wire::new();
    wire.syn().syn_ack();
    let handshake = wire.packets.clone();
    wire.ack(Client).ask(GET);
    wire.packets.extend(handshake.clone());
    wire.answer(OK).close();
    // Even when all is over.
    wire.packets.extend(handshake);
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 1"]);
    assert_eq!(service.connections, ConnectionCounts { opened: 1, closed: 1, ..Default::default() });
    assert_eq!(report.capture.skipped, [("after_end", 2)].into());
}

#[test]
fn both_ends_may_ask_at_the_same_time() {
    let mut wire = Wire::new();
    let (client, server) = (wire.next[0], wire.next[1]);
    wire.syn().send(Server, Flags { syn: true, ..Flags::default() }, b"");
    for (from, sequence, next) in [(Client, client, server), (Server, server, client)] {
        let flags = Flags { syn: true, ack: true, ..Flags::default() };
        let ip = wire.packet(from, sequence, next.wrapping_add(1), flags, b"");
        wire.packets.push(super::Packet { time: wire.time, ip, snap: usize::MAX });
    }
    wire.ask(GET).answer(OK).close();
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 1"]);
    assert_eq!(service.connections, ConnectionCounts { opened: 1, closed: 1, ..Default::default() });
}

#[test]
fn what_comes_late_belongs_to_no_connection() {
    let mut wire = Wire::open();
    wire.ask(GET).wait(MS).rst(Client).answer(OK).answer(OK).rst(Client);
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET aborted: 1"]);
    assert_eq!(service.connections.joined, 0);
    assert_eq!(report.capture.skipped, [("after_end", 3)].into());
}

#[test]
fn connections_beyond_the_limit_are_given_up_and_counted() {
    const CONNECTIONS: u16 = 20;
    const LIMIT: usize = 8;
    let mut wires: Vec<_> =
        (0..CONNECTIONS).map(|i| Wire::between(&format!("10.0.0.2:{}", 40_000 + i), "10.0.0.1:80")).collect();
    let mut packets = Vec::new();
    for wire in &mut wires {
        wire.shake().ask(GET);
        packets.append(&mut wire.packets);
    }
    for wire in wires.iter_mut().rev() {
        wire.answer(OK).close();
        packets.append(&mut wire.packets);
    }
    let file = file(Format::PCAP, Link::Ethernet, &packets);
    let report = count(Cursor::new(file), "test", LIMIT, Routes::Counted).unwrap();
    let service = only(&report);
    let evicted = u64::from(CONNECTIONS) - LIMIT as u64;
    assert_eq!(kinds(service), [format!("GET 200: {LIMIT}")]);
    assert_eq!((service.connections.opened, service.connections.evicted), (u64::from(CONNECTIONS), evicted));
    assert_eq!(service.unmeasured.get("evicted"), Some(&evicted));
    assert_eq!(service.connections.joined, evicted, "taken up again with their answers");
}
