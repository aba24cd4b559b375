//! What is asked of a capture beside its counters.

use std::{io::Cursor, time::Duration};

use serde_json::{Value, json};

use super::{
    super::{
        Wanted,
        files::Files,
        filter::{BadFilter, Filter},
        read, render,
        report::Report,
    },
    Format, Link, file,
    files::three_requests,
    kinds, only, replayed,
    wire::{
        GET, MS, OK, Packet, START,
        Sender::{Client, Server},
        Wire,
    },
};

/// Counts packets with more than is usual.
fn wanted(packets: &[Packet], wanted: &Wanted) -> Report {
    let file = file(Format::PCAP, Link::Ethernet, packets);
    read(Files::of("test", Cursor::new(file)).unwrap(), wanted)
}

fn document(report: &Report) -> Value {
    serde_json::from_str(&render::json(report).unwrap()).unwrap()
}

fn filtered(packets: &[Packet], filter: &str) -> Report {
    wanted(packets, &Wanted { filter: Some(filter.parse().unwrap()), ..Wanted::default() })
}

#[test]
fn durations_are_told_by_method_status_and_route() {
    let report = replayed(&three_requests());
    let [get, post] = &only(&report).by_status[..] else { panic!("{report:#?}") };
    assert_eq!((get.duration.count, post.duration.count), (2, 1));
    assert!((get.duration.sum_seconds - 0.005).abs() < 1e-9, "{get:?}");
    assert!((post.duration.max_seconds - 0.005).abs() < 1e-9, "{post:?}");
    let text = render::text(&report);
    assert!(
        text.contains("\n10.0.0.1:80  GET 200: 2 (P50 2.0 ms, P99 2.9 ms), POST 500: 1 (P50 5.0 ms, "),
        "{text}"
    );
    assert!(text.contains("\n10.0.0.1:80  /a  POST 500: 1 (P50 5.0 ms, P99 5.0 ms)\n"), "{text}");
}

#[test]
fn what_is_in_flight_is_told_with_its_method_and_its_status_so_far() {
    let mut wire = Wire::open();
    wire.ask(GET).answer(OK).ask("POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n").wait(MS);
    wire.ask(GET)
        .wait(2 * MS)
        .ask(GET)
        .answer("HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\nno")
        .wait(4 * MS);
    wire.ack(Client);
    let report = replayed(&wire.packets);
    let waiting = &document(&report)["services"][0]["waiting"];
    let expected = json!([
        { "route": "/", "method": "GET", "status": null, "count": 2, "oldest_seconds": 0.006 },
        { "route": "/a", "method": "POST", "status": "503", "count": 1, "oldest_seconds": 0.007 },
    ]);
    assert_eq!(waiting, &expected);
    assert_eq!(only(&report).in_flight, 3);
    let text = render::text(&report);
    let expected =
        "in flight: / GET: 2, the oldest for 6.0 ms; /a POST 503 so far: 1, the oldest for 7.0 ms\n";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_filter_chooses_by_port_host_network_and_time() {
    let mut other = Wire::between("10.0.0.3:40000", "10.0.1.1:8080");
    other.shake().ask(GET).wait(MS).answer(OK).close();
    let mut packets = [three_requests(), other.packets].concat();
    packets.sort_by_key(|packet| packet.time);
    let services = |filter: &str| -> Vec<String> {
        filtered(&packets, filter).services.iter().map(|service| service.service.clone()).collect()
    };
    let (first, second) = ("10.0.0.1:80", "10.0.1.1:8080");
    for filter in [
        "port 80",
        "tcp port 80",
        "host 10.0.0.1",
        "not port 8080",
        "!port 8080",
        "net 10.0.0.0/30 and port 80",
        "(port 80 or port 443) and not host 10.0.0.3",
        "host 10.0.0.2 && tcp",
    ] {
        assert_eq!(services(filter), [first], "{filter}");
    }
    for filter in ["net 10.0.0.0/8", "port 80 or port 8080", "tcp", "port 80 || host 10.0.0.3 and port 8080"]
    {
        assert_eq!(services(filter), [first, second], "{filter}");
    }
    assert_eq!(filtered(&packets, "port 80").capture.skipped, [("filtered", 8)].into());
    // The last of three requests, which begins 8 ms behind the first packet.
    let report = filtered(&three_requests(), "after 8ms");
    assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    for until in ["before 5ms", "before 2023-11-14T22:13:20.005Z"] {
        let report = filtered(&three_requests(), until);
        assert_eq!(kinds(only(&report)), ["GET 200: 1"], "{until}");
        assert_eq!(only(&report).in_flight, 1, "{until}");
    }
}

#[test]
fn a_filter_that_makes_no_sense_is_told_in_a_sentence() {
    let said = |filter: &str| filter.parse::<Filter>().unwrap_err().to_string();
    assert_eq!(said("port http"), "`http` is not a port, from 0 to 65535");
    assert_eq!(said("host a"), "`a` is not an IPv4 or IPv6 address");
    assert_eq!(said("port"), "it ends where a port, from 0 to 65535 is expected");
    assert_eq!(said("(port 80"), "it ends where `)` is expected");
    assert_eq!(said("port 80 port 81"), "`port` is not `and`, `or` or the end");
    assert!(said("udp").starts_with("`udp` is not a condition"), "{}", said("udp"));
    assert!(said("").starts_with("it ends where a condition"), "{}", said(""));
    assert!(said("after soon").starts_with("`soon` is not a time, such as"), "{}", said("after soon"));
    assert_eq!("(".repeat(1_000_000).parse::<Filter>(), Err(BadFilter::Long));
}

#[test]
fn the_slowest_requests_are_listed() {
    let report = wanted(&three_requests(), &Wanted { top: 2, ..Wanted::default() });
    let expected = json!([
        {
            "service": "10.0.0.1:80",
            "client": "10.0.0.2:40000",
            "method": "POST",
            "status": "500",
            "route": "/a",
            "began": "2023-11-14T22:13:20.003000000Z",
            "duration_seconds": 0.005,
            "time_to_first_byte_seconds": 0.004,
        },
        {
            "service": "10.0.0.1:80",
            "client": "10.0.0.2:40000",
            "method": "GET",
            "status": "200",
            "route": "/",
            "began": "2023-11-14T22:13:20.009000000Z",
            "duration_seconds": 0.003,
            "time_to_first_byte_seconds": 0.003,
        },
    ]);
    assert_eq!(document(&report)["slowest"], expected);
    let text = render::text(&report);
    assert!(text.contains("\nSLOWEST      METHOD  STATUS  ROUTE  CLIENT"), "{text}");
    assert!(
        text.contains("\n10.0.0.1:80  POST    500     /a     10.0.0.2:40000  2023-11-14T22:13:20.003000000Z"),
        "{text}"
    );
}

#[test]
fn figures_over_time_are_those_of_their_intervals() {
    let every = Some(Duration::from_millis(5));
    let report = wanted(&three_requests(), &Wanted { every, ..Wanted::default() });
    let found: Vec<_> = report
        .intervals
        .iter()
        .map(|interval| {
            let bytes = interval.bytes;
            (&interval.start[17..23], interval.requests, interval.server_errors, bytes.received, bytes.sent)
        })
        .collect();
    let expected = [("20.000", 1, 0, 69, 43), ("20.005", 1, 1, 27, 40), ("20.010", 1, 0, 0, 43)];
    assert_eq!(found, expected);
    assert!((report.intervals[1].duration.sum_seconds - 0.005).abs() < 1e-9);
    let text = render::text(&report);
    assert!(text.contains("\n2023-11-14T22:13:20.005000000Z         1    0    1        0"), "{text}");
    // As many as a file can have packets, with no end of memory.
    let packets: Vec<_> = (0..120_000_u64)
        .map(|i| Packet { time: START + i * 1_000 * MS, ..three_requests()[0].clone() })
        .collect();
    let report = wanted(&packets, &Wanted { every, ..Wanted::default() });
    assert!(report.intervals.len() <= 100_000);
}

#[test]
fn clients_are_told_apart_by_their_addresses() {
    let mut packets = three_requests();
    for port in [40_001, 40_002] {
        let mut other = Wire::between(&format!("10.0.0.3:{port}"), "10.0.0.1:80");
        other.shake().ask(GET).answer(OK).close();
        packets.extend(other.packets);
    }
    let report = wanted(&packets, &Wanted { peers: true, ..Wanted::default() });
    let expected = json!([
        { "peer": "10.0.0.2", "connections": 1, "requests": 3, "bytes": { "received": 96, "sent": 126 } },
        { "peer": "10.0.0.3", "connections": 2, "requests": 2, "bytes": { "received": 54, "sent": 86 } },
    ]);
    assert_eq!(document(&report)["services"][0]["by_peer"], expected);
    let text = render::text(&report);
    assert!(text.contains("client 10.0.0.3: connections 2, requests 2, received 54, sent 86\n"), "{text}");
    // A thousand have room.
    let packets: Vec<_> = (0..1_010_u16)
        .flat_map(|i| {
            let mut wire = Wire::between(&format!("10.1.{}.{}:40000", i / 256, i % 256), "10.0.0.1:80");
            wire.shake().ask(GET).answer(OK).close();
            wire.packets
        })
        .collect();
    let report = wanted(&packets, &Wanted { peers: true, ..Wanted::default() });
    let peers = &only(&report).by_peer;
    assert_eq!((peers.len(), &*peers[0].peer, peers[0].requests), (1_001, "other", 10));
}

/// `tcpdump -s 96`, say, of requests with long paths and many cookies.
#[test]
fn a_first_line_that_is_cut_is_a_request_where_its_method_is_whole() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(300));
    let headers = 14 + 20 + 20;
    for kept in 4..320 {
        let mut wire = Wire::open();
        wire.ask(&long);
        wire.packets.last_mut().unwrap().snap = headers + kept;
        wire.wait(MS).answer(OK).close();
        let report = replayed(&wire.packets);
        assert_eq!(kinds(only(&report)), ["GET 200: 1"], "{kept}: {report:#?}");
        assert!((only(&report).duration.sum_seconds - 0.001).abs() < 1e-9, "{kept}");
    }
    // An answer's likewise, where its status is whole.
    for kept in 12..17 {
        let mut wire = Wire::open();
        wire.ask(GET).wait(MS).answer(OK);
        wire.packets.last_mut().unwrap().snap = headers + kept;
        wire.close();
        assert_eq!(kinds(only(&replayed(&wire.packets))), ["GET 200: 1"], "{kept}");
    }
    // What is no method, or may be another protocol's command, is not taken for a request.
    for line in ["GE", "GET key of something else than HTTP", "MAIL FROM:<somebody@example.org>"] {
        let mut wire = Wire::open();
        wire.say(Client, format!("{line}{}\r\n", " ".repeat(300)).as_bytes());
        wire.packets.last_mut().unwrap().snap = headers + line.len().min(20);
        wire.say(Server, b"250 yes\r\n").close();
        assert_eq!(only(&replayed(&wire.packets)).requests, 0, "{line}");
    }
}
