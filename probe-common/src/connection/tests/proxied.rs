//! Connections through proxies: PROXY headers before the first message, and fields that name clients.

use std::{format, net::IpAddr, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::proxied::Counting;

/// The peer, and a network of trusted proxies.
const PEER: &str = "10.0.0.1";

fn bytes(address: &str) -> [u8; 16] {
    match address.parse().unwrap() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Whether it is in 10.0.0.0/8.
fn trusted(address: &[u8; 16]) -> bool {
    address[..13] == bytes("10.0.0.0")[..13]
}

/// A connection from a trusted proxy, and what it told.
struct Proxy {
    talk: Conversation,
    clients: Vec<[u8; 16]>,
}

impl Proxy {
    fn new() -> Self {
        let mut talk = Conversation::new();
        talk.connection.client = bytes(PEER);
        talk.connection.counting = Counting::ByRequest;
        Self { talk, clients: Vec::new() }
    }

    /// What the proxy sends, cut at these places over and over. Other connections use the window in between.
    fn say(&mut self, bytes: &[u8], cuts: &[usize]) -> &mut Self {
        let (mut rest, mut i) = (bytes, 0);
        let mut kept = self.talk.window.proxied;
        while !rest.is_empty() {
            let (segment, behind) = rest.split_at(cuts[i % cuts.len()].clamp(1, rest.len()));
            *self.talk.window = Window::default();
            self.talk.window.proxied = kept;
            self.segment(segment);
            kept = self.talk.window.proxied;
            (rest, i) = (behind, i + 1);
        }
        self
    }

    fn segment(&mut self, bytes: &[u8]) {
        let talk = &mut self.talk;
        let sequence = REQUEST_AT.wrapping_add(talk.sent[0].len() as u32);
        talk.sent[0].extend_from_slice(bytes);
        let segment = Segment {
            side: Side::Request,
            sequence,
            length: bytes.len() as u32,
            acknowledged: None,
            fin: false,
        };
        let mut more = talk.connection.accept(&segment).due;
        talk.window.clear();
        while more {
            let step = talk.connection.step(&segment, talk.now, &mut talk.window, bytes);
            more = step.more;
            if talk.connection.counting == Counting::ByRequest {
                let told = talk.connection.tell_client(&mut talk.window, trusted);
                self.clients.extend(told.client);
                talk.unmeasured.extend(told.unmeasured);
            }
            talk.note(step);
        }
    }

    /// Says it, and names the clients of the requests in it.
    fn clients(&mut self, text: &str) -> Vec<[u8; 16]> {
        self.say(text.as_bytes(), &[usize::MAX]);
        core::mem::take(&mut self.clients)
    }
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend_from_slice(rest);
    header
}

/// Addresses and ports of IPv4, and values of so many bytes.
fn ipv4(values: usize) -> Vec<u8> {
    let mut rest = vec![203, 0, 113, 7, 10, 0, 0, 2, 1, 2, 0, 80];
    rest.extend(vec![b'\n'; values]);
    version_2(1, 0x11, &rest)
}

fn ipv6() -> Vec<u8> {
    let mut rest = bytes("2001:db8::7").to_vec();
    rest.extend(bytes("2001:db8::1"));
    rest.extend([1, 2, 0, 80]);
    version_2(1, 0x21, &rest)
}

/// Headers, and whom they name.
fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    vec![
        (b"PROXY TCP4 203.0.113.7 10.0.0.2 4711 80\r\n".to_vec(), Some("203.0.113.7")),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(), Some("2001:db8::7")),
        (
            b"PROXY TCP6 ffff:f00f:ffff:ffff:ffff:ffff:ffff:fffe ffff:f00f:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
                .to_vec(),
            Some("ffff:f00f:ffff:ffff:ffff:ffff:ffff:fffe"),
        ),
        (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 80\r\n".to_vec(), Some("203.0.113.7")),
        (b"PROXY TCP4 203.0.113.7 10.0.0.2 1 HTTP/1.1\r\n".to_vec(), Some("203.0.113.7")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
        (ipv4(0), Some("203.0.113.7")),
        (ipv4(1), Some("203.0.113.7")),
        (ipv4(3000), Some("203.0.113.7")),
        (ipv4(65_535 - 12), Some("203.0.113.7")),
        (ipv6(), Some("2001:db8::7")),
        (version_2(0, 0, &[]), None),
        (version_2(0, 0x11, &[9; 40]), None),
        (version_2(1, 0, &[1, 2, 3]), None),
        (version_2(1, 0x31, &[b'/'; 216]), None),
    ]
}

#[test]
fn requests_behind_a_header_are_those_of_whom_it_names() {
    for (header, named) in headers() {
        let mut proxy = Proxy::new();
        proxy.say(&header, &[usize::MAX]).say(GET.as_bytes(), &[usize::MAX]);
        proxy.talk.answer(OK);
        let text = header.escape_ascii();
        assert_eq!(proxy.talk.seen(), ["GET 200"], "{text}");
        assert_eq!(proxy.talk.connection.client, bytes(named.unwrap_or(PEER)), "{text}");
        // Whom the proxy named has a connection of its own; else the proxy asks for itself.
        let by_request = proxy.talk.connection.counting == Counting::ByRequest;
        assert_eq!(
            (by_request, proxy.clients.len()),
            (named.is_none(), usize::from(named.is_none())),
            "{text}"
        );
    }
}

/// Whoever sends it: its requests are measured, and whom it names is nobody's concern.
#[test]
fn a_header_of_anybody_is_passed_over() {
    for (header, _) in headers() {
        for cut in [1, 7, 41, usize::MAX >> 1] {
            let mut talk = Conversation::new();
            talk.send(Side::Request, &header, cut).send(Side::Request, GET.as_bytes(), cut).answer(OK);
            assert_eq!(talk.seen(), ["GET 200"], "{}", header.escape_ascii());
            assert_eq!(talk.connection.client, [0; 16]);
        }
    }
}

#[test]
fn what_speaks_something_else_behind_a_header_has_a_client_too() {
    let mut proxy = Proxy::new();
    proxy.say(&ipv6(), &[usize::MAX]).say(b"*1\r\n$4\r\nPING\r\n", &[3]);
    proxy.talk.answer("+PONG\r\n");
    assert_eq!(proxy.talk.connection.client, bytes("2001:db8::7"));
    assert_eq!(proxy.talk.connection.counting, Counting::Connected);
    assert_eq!(proxy.talk.unmeasured, [Reason::OpaqueProtocol]);
    // Without a header, it is the proxy.
    let mut proxy = Proxy::new();
    proxy.say(b"*1\r\n$4\r\nPING\r\n", &[3]);
    proxy.talk.answer("+PONG\r\n");
    assert_eq!(proxy.talk.connection.client, bytes(PEER));
    assert_eq!(proxy.talk.connection.counting, Counting::Connected);
}

#[test]
fn headers_that_make_no_sense_are_told_and_the_requests_behind_them_measured() {
    let long = format!("PROXY TCP4 203.0.113.7{} 10.0.0.2 1 2\r\n", "0".repeat(300));
    let mut wrong_version = ipv4(0);
    wrong_version[12] = 0x31;
    let mut wrong_command = ipv4(0);
    wrong_command[12] = 0x25;
    for header in [
        b"PROXY TCP4 203.0.113.256 10.0.0.2 4711 80\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 80\r\n".to_vec(),
        b"PROXY TCP6 203.0.113.7 10.0.0.2 4711 80\r\n".to_vec(),
        b"PROXY TCP5 203.0.113.7 10.0.0.2 4711 80\r\n".to_vec(),
        b"PROXY TCP4\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7\r\n".to_vec(),
        long.into_bytes(),
        version_2(1, 0x11, &[1, 2, 3, 4]),
        version_2(1, 0x21, &[1; 35]),
        wrong_version,
        wrong_command,
    ] {
        for cut in [1, 5, 64, usize::MAX] {
            let mut proxy = Proxy::new();
            proxy.say(&header, &[cut]).say(GET.as_bytes(), &[cut]);
            proxy.talk.answer(OK);
            assert_eq!(proxy.talk.unmeasured, [Reason::ProxyHeader], "{}", header.escape_ascii());
            assert_eq!(proxy.talk.exchanges.len(), 1);
            assert_eq!(proxy.clients, [bytes(PEER)]);
        }
    }
}

fn asked(fields: &str) -> (Vec<[u8; 16]>, Vec<Reason>) {
    let mut proxy = Proxy::new();
    let clients = proxy.clients(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    (clients, proxy.talk.unmeasured)
}

#[test]
fn the_client_is_the_last_hop_that_is_no_proxy() {
    for (fields, client) in [
        ("", PEER),
        ("X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"),
        ("x-forwarded-for:203.0.113.7\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 198.51.100.1,203.0.113.7 , 10.1.1.1,10.2.2.2\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 10.0.0.9\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 10.3.3.3, 10.0.0.9\r\n", "10.3.3.3"),
        ("X-Forwarded-For: unknown, 203.0.113.7\r\n", "203.0.113.7"),
        ("X-Forwarded-For: , 203.0.113.7,\r\n", "203.0.113.7"),
        ("X-Forwarded-For:\r\n", PEER),
        ("X-Forwarded-For: 203.0.113.7:4711\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7"),
        ("X-Forwarded-For: [2001:db8::7]:4711\r\n", "2001:db8::7"),
        ("X-Forwarded-For: \"[2001:db8::7]\"\r\n", "2001:db8::7"),
        ("X-Forwarded-For: ::ffff:203.0.113.7\r\n", "203.0.113.7"),
        ("Forwarded: for=203.0.113.7\r\n", "203.0.113.7"),
        ("forwarded: For=\"[2001:db8:cafe::17]:4711\"\r\n", "2001:db8:cafe::17"),
        (
            "Forwarded: for=198.51.100.1;proto=http;by=203.0.113.43, for=203.0.113.7;by=\"a,b\\\"c\"\r\n",
            "203.0.113.7",
        ),
        ("Forwarded: by=203.0.113.60;host=a;for=203.0.113.7;proto=https, for=10.9.9.9\r\n", "203.0.113.7"),
        ("Forwarded: for=198.51.100.1\r\nX-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 203.0.113.7\r\nForwarded: for=198.51.100.1\r\n", "203.0.113.7"),
        ("X-Forwarded-Fox: 198.51.100.1\r\nForwarded-For: 198.51.100.1\r\n", PEER),
    ] {
        assert_eq!(asked(fields), (vec![bytes(client)], vec![]), "{fields}");
    }
}

#[test]
fn who_cannot_be_told_is_said_to_be_so() {
    let long = format!("X-Forwarded-For: {}203.0.113.7\r\n", "198.51.100.1, ".repeat(100));
    for (fields, client) in [
        ("X-Forwarded-For: 198.51.100.1, unknown\r\n", PEER),
        ("X-Forwarded-For: 198.51.100.1, unknown, 10.7.7.7\r\n", "10.7.7.7"),
        ("X-Forwarded-For: 198.51.100.1.\r\n", PEER),
        ("X-Forwarded-For: 198.51.100.1 203.0.113.7\r\n", PEER),
        ("X-Forwarded-For: [2001:db8::7\r\n", PEER),
        ("X-Forwarded-For: \"2001:db8::7\r\n", PEER),
        ("Forwarded: for=_hidden\r\n", PEER),
        ("Forwarded: for=unknown;by=203.0.113.1\r\n", PEER),
        ("Forwarded: for=203.0.113.7;for=203.0.113.8\r\n", PEER),
        ("Forwarded: for=203.0.113.7, proto=https\r\n", PEER),
        ("Forwarded: for=\"203.0.113.7\\\"\"\r\n", PEER),
        (&long, PEER),
    ] {
        assert_eq!(asked(fields), (vec![bytes(client)], vec![Reason::ForwardedUnread]), "{fields}");
    }
}

#[test]
fn a_connection_has_a_client_for_each_of_its_requests() {
    let mut proxy = Proxy::new();
    let ask = |client: &str| format!("GET / HTTP/1.1\r\nX-Forwarded-For: {client}\r\n\r\n");
    let said = [ask("203.0.113.7"), GET.into(), ask("2001:db8::7")].concat();
    assert_eq!(proxy.clients(&said), [bytes("203.0.113.7"), bytes(PEER), bytes("2001:db8::7")]);
    // Whom a header names, it is no proxy, and what it says of itself is not trusted.
    let mut proxy = Proxy::new();
    proxy.say(&ipv4(0), &[usize::MAX]);
    assert_eq!(proxy.clients(&said), [[0; 16]; 0]);
    assert_eq!(proxy.talk.connection.client, bytes("203.0.113.7"));
    // A header that names another proxy.
    let mut proxy = Proxy::new();
    proxy.say(b"PROXY TCP4 10.5.5.5 10.0.0.1 1 2\r\n", &[usize::MAX]);
    assert_eq!(proxy.clients(&said), [bytes("203.0.113.7"), bytes("10.5.5.5"), bytes("2001:db8::7")]);
}

proptest! {
    /// However it is cut.
    #[test]
    fn any_segmentation_names_the_same_clients(
        header in 0_usize..15,
        kinds in prop::collection::vec(0_usize..6, 1..12),
        cuts in prop::collection::vec(1_usize..90, 1..30),
    ) {
        let fields = [
            "",
            "X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.1.1.1\r\n",
            "X-Forwarded-For: 2001:db8:1:2:3:4:5:6\r\nAccept: text/html,application/xhtml+xml,application/xml\r\n",
            "Forwarded: for=\"[2001:db8::8]:80\";proto=https;by=203.0.113.43;host=example.com\r\n",
            "Forwarded: for=198.51.100.1\r\nX-Forwarded-For: 203.0.113.8\r\nX-Forwarded-For: unknown\r\n",
            "X-Forwarded-Host: a\r\nX-Forwarded-For: 203.0.113.9, 198.51.100.300\r\n",
        ];
        let named = [PEER, "203.0.113.7", "2001:db8:1:2:3:4:5:6", "2001:db8::8", PEER, PEER];
        let mut said: Vec<u8> = Vec::new();
        // One that names nobody, so that the requests name theirs.
        let header = headers().into_iter().filter(|(_, named)| named.is_none()).nth(header % 6);
        if let Some((header, _)) = header { said.extend(header); }
        for kind in &kinds {
            said.extend(format!("POST / HTTP/1.1\r\n{}Content-Length: 4\r\n\r\nbody", fields[*kind]).bytes());
        }
        let mut proxy = Proxy::new();
        proxy.say(&said, &cuts);
        let expected: Vec<_> = kinds.iter().map(|kind| bytes(named[*kind])).collect();
        prop_assert_eq!(&proxy.clients, &expected);
        let blind = kinds.iter().filter(|kind| **kind > 3).count();
        prop_assert_eq!(&proxy.talk.unmeasured, &vec![Reason::ForwardedUnread; blind]);
        proxy.talk.answer(&OK.repeat(kinds.len()));
        prop_assert_eq!(proxy.talk.exchanges.len(), kinds.len());
    }

    /// Whatever comes, nothing panics, and no loop goes on without an end.
    #[test]
    fn any_bytes_of_a_proxy_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        text in "[ -~\r\n]{0,200}",
        prefix in prop::sample::select(vec![
            "PROXY TCP4 ", "PROXY TCP6 ", "PROXY U", "\r\n\r\n\0\r\nQUIT\n", "GET / HTTP/1.1\r\nX-Forwarded-For:",
            "GET / HTTP/1.1\r\nForwarded:", "GET / HTTP/1.1\r\nForwarded: for=\"",
        ]),
        cuts in prop::collection::vec(1_usize..90, 1..9),
    ) {
        let mut proxy = Proxy::new();
        proxy.say(prefix.as_bytes(), &cuts).say(text.as_bytes(), &cuts).say(&bytes, &cuts);
        proxy.talk.close();
    }
}
