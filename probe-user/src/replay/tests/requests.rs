//! Requests as the engine counts them, over captured packets.

use super::{
    super::report::Ways,
    kinds, nothing_escaped, only, replayed,
    wire::{
        Flags, GET, MS, OK, Packet,
        Sender::{Client, Server},
        Wire,
    },
};

/// As long as the start of a line that may still become a request's, and longer.
const HELLO: [u8; 100] = [0x16; 100];

#[test]
fn requests_that_were_pipelined_are_counted_one_by_one() {
    let mut wire = Wire::open();
    for _ in 0..100 {
        wire.ask(&GET.repeat(16)).wait(MS).answer(&OK.repeat(16)).wait(MS);
    }
    wire.close();
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 1600"]);
    assert!((service.duration.sum_seconds - 1.6).abs() < 1e-9);
    for quantile in [service.duration.p50_seconds, service.duration.p99_seconds] {
        assert!((quantile.unwrap() / 0.001 - 1.0).abs() < 0.045, "{quantile:?}");
    }
}

#[test]
fn a_head_may_come_in_any_number_of_segments() {
    let mut wire = Wire::open();
    for byte in GET.bytes() {
        wire.say(Client, &[byte]).wait(MS);
    }
    for byte in OK.bytes() {
        wire.say(Server, &[byte]).wait(MS);
    }
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 1"]);
    let (first, whole) = (service.time_to_first_byte.sum_seconds, service.duration.sum_seconds);
    assert!((first - 0.027).abs() < 1e-9 && (whole - 0.069).abs() < 1e-9, "{first} {whole}");
}

/// As `tcpdump -i any` sees what passes two interfaces: every packet twice, here and there a bit later.
#[test]
fn packets_that_were_captured_twice_count_once() {
    let mut wire = Wire::open();
    wire.ask(GET).wait(MS).answer(OK).ask(GET).wait(MS).answer(OK).close();
    let twice: Vec<_> = wire.packets.iter().flat_map(|packet| [packet.clone(), packet.clone()]).collect();
    let once = replayed(&wire.packets);
    let report = replayed(&twice);
    let (expected, service) = (only(&once), only(&report));
    assert_eq!(kinds(service), ["GET 200: 2"]);
    assert_eq!(service.bytes, expected.bytes);
    assert_eq!(service.connections, expected.connections);
    // A bare acknowledgement is not told from another one.
    assert_eq!(service.repeated, Ways { received: 3, sent: 3 });
    assert_eq!(expected.repeated, Ways { received: 0, sent: 0 });
    // Only the last acknowledgement comes again when all is over.
    assert_eq!(report.capture.skipped, [("after_end", 1)].into());
    assert!(service.unmeasured.is_empty());
}

#[test]
fn segments_that_were_sent_again_count_once() {
    let mut wire = Wire::open();
    wire.ask(GET);
    let again = wire.packets.last().unwrap().clone();
    wire.wait(MS);
    wire.packets.push(Packet { time: wire.time, ..again });
    wire.wait(MS).answer(OK);
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 1"]);
    assert!((service.duration.sum_seconds - 0.002).abs() < 1e-9, "from the first time it was sent");
    assert_eq!((service.bytes.received, service.packets.received, service.repeated.received), (27, 4, 1));
}

#[test]
fn data_in_a_syn_is_the_start_of_the_stream() {
    let mut wire = Wire::new();
    wire.send(Client, Flags { syn: true, ..Flags::default() }, GET.as_bytes()).wait(MS);
    wire.syn_ack().answer(OK).ack(Client).close();
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 1"]);
    assert_eq!((service.bytes.received, service.bytes.sent), (27, 43));
    assert_eq!((service.connections.opened, service.connections.closed), (1, 1));
}

/// The server does not take the data in the SYN: it comes again once the connection is there.
#[test]
fn data_in_a_syn_may_come_again() {
    let mut wire = Wire::new();
    wire.send(Client, Flags { syn: true, ..Flags::default() }, GET.as_bytes());
    wire.next[0] = wire.next[0].wrapping_sub(27);
    wire.syn_ack().ask(GET).answer(OK).close();
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    assert_eq!(only(&report).bytes.received, 27);
}

#[test]
fn what_is_not_http_is_opaque() {
    let mut wire = Wire::open();
    wire.say(Client, &HELLO).say(Server, &[0x16, 3, 3, 0, 122]).close();
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!((service.protocol, service.requests), ("opaque", 0));
    assert_eq!(service.unmeasured, [("opaque_protocol", 1)].into());
    assert_eq!((service.bytes.received, service.bytes.sent), (100, 5));
}

#[test]
fn a_service_is_one_line_whatever_else_its_connections_are_used_for() {
    let mut wire = Wire::open();
    wire.ask(GET).answer(OK).close();
    let mut silent = Wire::between("10.0.0.3:40001", "10.0.0.1:80");
    silent.shake().close();
    let mut opaque = Wire::between("10.0.0.3:40002", "10.0.0.1:80");
    opaque.shake().say(Client, &HELLO).close();
    let packets = [wire.packets, silent.packets, opaque.packets].concat();
    let report = replayed(&packets);
    let service = only(&report);
    assert_eq!((service.protocol, kinds(service)), ("http1", vec!["GET 200: 1".to_owned()]));
    assert_eq!((service.connections.opened, service.connections.closed), (3, 3));
    assert_eq!(service.unmeasured, [("opaque_protocol", 1)].into());
}

#[test]
fn a_delivery_ends_when_its_last_byte_is_acknowledged() {
    let mut wire = Wire::open();
    wire.ask(GET).wait(MS).answer(OK).wait(3 * MS).ack(Client);
    wire.ask(GET).wait(MS).answer(OK).wait(5 * MS);
    // Without an acknowledgement.
    wire.send(Client, Flags { rst: true, ..Flags::default() }, b"");
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!((service.delivery.count, kinds(service)), (1, vec!["GET 200: 2".to_owned()]));
    assert!((service.delivery.sum_seconds - 0.003).abs() < 1e-9, "{:?}", service.delivery);
    assert_eq!(service.unmeasured, [("undelivered", 1)].into());
}
