//! The packets that are run, and the connections that they come to.

use etherparse::{PacketBuilder, TcpOptionElement};
use probe_common::connection::Side;

/// A segment of a connection between a client and a server.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) side: Side,
    pub(crate) bytes: Vec<u8>,
    /// Bytes that this side said before.
    pub(crate) before: usize,
    /// Bytes of the other side that it acknowledges.
    pub(crate) acknowledged: usize,
}

/// A kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Acknowledgement,
    Content,
    Upload,
    RequestHead,
    ResponseHead,
    FirstHalf,
    SecondHalf,
    Requests,
    Responses,
}

/// 30 bytes.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a.bc\r\n\r\n";

/// Requests in a pipeline.
const PIPELINE: usize = 16;

/// Content of a segment in the middle of a body: as much as an Ethernet frame bears behind a timestamp.
const SEGMENT: usize = 1_448;

/// A head of 220 bytes as nginx makes it, with its content.
fn response(content: &str) -> String {
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Type: \
         text/plain\r\nContent-Length: {}\r\nConnection: keep-alive\r\nX-Request: ",
        content.len()
    );
    let missing = 220 - head.len() - 4;
    head.push_str(&"x".repeat(missing));
    head + "\r\n\r\n" + content
}

/// The head of a message with much content, and the first of it.
fn large(line: &str) -> String {
    format!("{line}\r\nContent-Length: 10000000\r\n\r\nfirst")
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Acknowledgement,
        Self::Content,
        Self::Upload,
        Self::RequestHead,
        Self::ResponseHead,
        Self::FirstHalf,
        Self::SecondHalf,
        Self::Requests,
        Self::Responses,
    ];

    /// Which packets make a request, and how many requests that is.
    pub(crate) const REQUESTS: &[(&str, &[Self], usize)] = &[
        ("head of 30 B, head of 220 B", &[Self::RequestHead, Self::ResponseHead], 1),
        ("the same, the request's head in two", &[Self::FirstHalf, Self::SecondHalf, Self::ResponseHead], 1),
        ("pipelined 16, each of them", &[Self::Requests, Self::Responses], PIPELINE),
    ];

    /// Its name in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Acknowledgement => "bare ACK, received",
            Self::Content => "content of a response, 1,448 B, sent",
            Self::Upload => "content of a request, 1,448 B, received",
            Self::RequestHead => "request head, 30 B, received",
            Self::ResponseHead => "response head, 220 B, with 5 B of content, sent",
            Self::FirstHalf => "first half of a request head, received",
            Self::SecondHalf => "second half of a request head, received",
            Self::Requests => "16 request heads in a segment, received",
            Self::Responses => "16 responses in a segment, sent",
        }
    }

    /// What was said before, and the packet itself, which is last.
    pub(crate) fn conversation(self) -> Vec<Packet> {
        let client = |text: &str| (Side::Request, text.as_bytes().to_vec());
        let server = |text: &str| (Side::Response, text.as_bytes().to_vec());
        let content = "x".repeat(SEGMENT);
        let (first, second) = REQUEST.split_at(REQUEST.len() / 2);
        let said = match self {
            Self::Acknowledgement => {
                vec![client(REQUEST), server(&response("hello")), client(""), client("")]
            }
            Self::Content => vec![client(REQUEST), server(&large("HTTP/1.1 200 OK")), server(&content)],
            Self::Upload => vec![client(&large("PUT / HTTP/1.1")), client(&content)],
            Self::RequestHead => vec![client(REQUEST)],
            Self::ResponseHead => vec![client(REQUEST), server(&response("hello"))],
            Self::FirstHalf => vec![client(first)],
            Self::SecondHalf => vec![client(first), client(second)],
            Self::Requests => vec![client(&REQUEST.repeat(PIPELINE))],
            Self::Responses => {
                // As many as a test run takes in one packet: short heads.
                let answer = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: \
                              5\r\nConnection: keep-alive\r\n\r\nhello";
                vec![client(&REQUEST.repeat(PIPELINE)), server(&answer.repeat(PIPELINE))]
            }
        };
        let mut before = [0, 0];
        let mut packets = Vec::new();
        for (side, bytes) in said {
            let [own, other] = [side as usize, 1 - side as usize];
            let length = bytes.len();
            packets.push(Packet { side, bytes, before: before[own], acknowledged: before[other] });
            before[own] += length;
        }
        packets
    }

    /// The frame of the packet itself.
    pub(crate) fn frame(self) -> Vec<u8> {
        self.conversation().last().map(Packet::frame).unwrap_or_default()
    }

    /// How many answers end in it.
    pub(crate) const fn answers(self) -> u64 {
        match self {
            Self::ResponseHead => 1,
            Self::Responses => PIPELINE as u64,
            _ => 0,
        }
    }
}

impl Packet {
    /// One that says nothing.
    pub(crate) fn none() -> Self {
        Self { side: Side::Request, bytes: Vec::new(), before: 0, acknowledged: 0 }
    }

    /// The frame that bears it, with a timestamp, as nearly every segment has one. Sequence numbers begin at 1.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let number = |bytes: usize| u32::try_from(bytes + 1).unwrap_or(u32::MAX);
        let options = [TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(1, 1)];
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(80, 80, number(self.before), u16::MAX)
            .ack(number(self.acknowledged))
            .options(&options)
            .expect("12 bytes of options fit");
        let mut frame = Vec::with_capacity(builder.size(self.bytes.len()));
        builder.write(&mut frame, &self.bytes).expect("a vector takes what is written to it");
        frame
    }

    /// A frame too short for an IP header: programs leave it alone at once. It says that it is of an experimental protocol
    /// (IEEE 802, local), since the kernel runs no packet that says IP and has not enough of it.
    pub(crate) fn short() -> Vec<u8> {
        const LOCAL_EXPERIMENT: [u8; 2] = [0x88, 0xb5];
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &LOCAL_EXPERIMENT, &[0; 6]].concat()
    }
}
