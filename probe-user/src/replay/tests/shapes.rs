//! Packets of unusual shape: cut when they were captured, with extension headers, longer than their header can say.

use super::{
    Format, Link, file, kinds, nothing_escaped, only, replay, replayed,
    wire::{
        GET, MS, OK, Packet,
        Sender::{Client, Server},
        Wire,
    },
};

fn cut(packets: &mut [Packet], snap: usize) {
    for packet in packets {
        packet.snap = snap;
    }
}

const HEADERS: usize = 14 + 20 + 20;

#[test]
fn messages_that_end_in_their_first_segment_may_be_cut_behind_the_head() {
    let mut wire = Wire::open();
    for _ in 0..10 {
        let mut request = b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n".to_vec();
        request.extend([b'x'; 1_000]);
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n".to_vec();
        answer.extend([b'x'; 900]);
        wire.say(Client, &request).wait(MS).say(Server, &answer);
    }
    cut(&mut wire.packets, HEADERS + 60);
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    assert_eq!(kinds(only(&report)), ["POST 200: 10"]);
}

#[test]
fn content_that_was_cut_away_is_jumped_over() {
    let body = [b'x'; 1_000];
    let mut wire = Wire::open();
    for _ in 0..10 {
        wire.ask("POST / HTTP/1.1\r\nContent-Length: 3000\r\n\r\n");
        wire.say(Client, &body).say(Client, &body).say(Client, &body).wait(MS);
        // The head and the first of its content in one segment, of which the head is captured.
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2500\r\n\r\n".to_vec();
        answer.extend(&body);
        wire.say(Server, &answer).say(Server, &body).wait(MS).say(Server, &body[..500]);
    }
    let whole = replayed(&wire.packets);
    cut(&mut wire.packets, HEADERS + 60);
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    assert_eq!(kinds(only(&report)), ["POST 200: 10"]);
    assert_eq!(only(&report).bytes, only(&whole).bytes);
    assert!((only(&report).duration.sum_seconds - 0.020).abs() < 1e-9);
    // 14 handshake and heads of requests were short enough.
    assert_eq!(report.capture.cut_packets, 60);
}

#[test]
fn a_head_that_was_cut_away_is_unreadable() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "c".repeat(300));
    let mut wire = Wire::open();
    for _ in 0..5 {
        wire.ask(&long).wait(MS).answer(OK).wait(MS);
    }
    wire.close();
    // Nothing; in the first lines; in their ends; behind the request's, but not the answer's; behind both; in a field; right before the
    // end.
    for (kept, counted) in [(0, 0), (1, 0), (15, 5), (16, 5), (17, 5), (20, 5), (30, 5), (100, 5), (330, 5)] {
        let mut packets = wire.packets.clone();
        cut(&mut packets, HEADERS + kept);
        let report = replayed(&packets);
        let service = only(&report);
        assert_eq!((service.requests, service.responses), (counted, counted), "{kept}: {report:#?}");
        // Each head that was cut is told: the answers' have 38 bytes.
        let heads = match kept {
            ..15 => 5..=10,
            15..38 => 10..=10,
            _ => 5..=5,
        };
        let told = service.unmeasured.get("unreadable").copied().unwrap_or_default();
        assert!(heads.contains(&told), "{kept}: {report:#?}");
        assert_eq!((service.bytes.received, service.bytes.sent), (5 * long.len() as u64, 5 * 43), "{kept}");
        assert_eq!((service.aborted, service.in_flight), (0, 0), "{kept}");
        assert!((service.duration.sum_seconds - counted as f64 / 1e3).abs() < 1e-9, "{kept}: {report:#?}");
    }
}

#[test]
fn headers_that_were_cut_away_are_told() {
    let mut wire = Wire::open();
    wire.ask(GET);
    for snap in 0..HEADERS {
        let mut packets = wire.packets.clone();
        cut(&mut packets, snap);
        let report = replayed(&packets);
        assert!(report.services.is_empty(), "{snap}: {report:#?}");
        assert_eq!(report.capture.skipped, [("cut_header", 4)].into(), "{snap}");
    }
}

/// Where segmentation is left to the device, the length is not written yet.
#[test]
fn a_packet_of_length_0_is_as_long_as_it_was_captured() {
    let mut wire = Wire::open();
    wire.ask(GET).answer(OK).close();
    for packet in &mut wire.packets {
        packet.ip[2..4].fill(0);
    }
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    // Of one that was cut, the capture knows the length.
    cut(&mut wire.packets, HEADERS + 40);
    assert_eq!(only(&replayed(&wire.packets)).bytes, only(&report).bytes);
}

#[test]
fn padding_behind_a_packet_is_no_payload() {
    let mut wire = Wire::open();
    wire.ask(GET).answer(OK).close();
    for packet in &mut wire.packets {
        packet.ip.extend([0; 6]);
    }
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    assert_eq!((only(&report).bytes.received, only(&report).bytes.sent), (27, 43));
}

/// Puts headers between IPv6's own and TCP's.
fn extend(packet: &mut Packet, first: u8, headers: &[u8]) {
    packet.ip[6] = first;
    packet.ip.splice(40..40, headers.iter().copied());
    let length = packet.ip.len() - 40;
    packet.ip[4..6].copy_from_slice(&u16::try_from(length).unwrap_or(0).to_be_bytes());
}

fn over_ipv6() -> Wire {
    let mut wire = Wire::between("[fd00::2]:40000", "[fd00::1]:80");
    wire.shake();
    wire
}

#[test]
fn extension_headers_of_ipv6_are_passed_over() {
    let mut wire = over_ipv6();
    wire.ask(GET).answer(OK).close();
    for packet in &mut wire.packets {
        // Hop-by-hop, routing, destination options, then TCP.
        let headers = [[43, 0, 1, 4, 0, 0, 0, 0], [60, 0, 0, 0, 0, 0, 0, 0], [6, 0, 1, 4, 0, 0, 0, 0]];
        extend(packet, 0, headers.as_flattened());
    }
    let report = replayed(&wire.packets);
    nothing_escaped(&report);
    assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    assert_eq!((only(&report).bytes.received, only(&report).bytes.sent), (27, 43));
}

#[test]
fn a_jumbogram_says_its_length_in_an_option() {
    const CONTENT: usize = 200_000;
    let mut wire = over_ipv6();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {CONTENT}\r\n\r\n");
    wire.ask(GET).wait(MS).answer(&head);
    let begun = wire.packets.len();
    // What the builder cannot make: the content is put in behind, and the numbers are moved on.
    wire.say(Server, b"");
    wire.packets[begun].ip.resize(60 + CONTENT, b'x');
    wire.next[1] = wire.next[1].wrapping_add(CONTENT as u32);
    let length = u32::try_from(20 + CONTENT + 8).unwrap().to_be_bytes();
    extend(&mut wire.packets[begun], 0, &[&[6, 0, 0xc2, 4], &length[..]].concat());
    wire.ask(GET).answer(OK).close();
    for snap in [usize::MAX, 200] {
        wire.packets[begun].snap = snap;
        let report = replay(file(Format::PCAP, Link::Ethernet, &wire.packets));
        nothing_escaped(&report);
        assert_eq!(kinds(only(&report)), ["GET 200: 2"]);
        assert_eq!(only(&report).bytes.sent, (head.len() + CONTENT + OK.len()) as u64);
    }
}

#[test]
fn what_is_neither_ip_nor_tcp_is_told() {
    let mut wire = Wire::open();
    wire.packets[0].ip[9] = 17;
    let mut file = file(Format::PCAP, Link::Ethernet, &wire.packets[..1]);
    let arp = wire.packets[1].clone();
    let mut second = super::file(Format::PCAP, Link::Ethernet, &[arp]);
    // The type in its Ethernet header.
    second[24 + 16 + 12..][..2].copy_from_slice(&[0x08, 0x06]);
    file.extend_from_slice(&second[24..]);
    let report = replay(file);
    assert_eq!(report.capture.skipped, [("not_ip", 1), ("udp", 1)].into());
    assert!(report.services.is_empty());
}
