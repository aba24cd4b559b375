//! Capture files in memory, of every kind, and that all kinds come to the same.

use super::{
    kinds, nothing_escaped, only, replay,
    wire::{GET, Link, MS, OK, Packet, START, Wire},
};

/// The order of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Pcap(Order, Fraction),
    PcapNg(Order),
}

/// What a second is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fraction {
    Micro,
    Nano,
}

impl Format {
    pub(super) const PCAP: Self = Self::Pcap(Order::Little, Fraction::Nano);
    pub(super) const ALL: [Self; 6] = [
        Self::Pcap(Order::Little, Fraction::Micro),
        Self::Pcap(Order::Big, Fraction::Micro),
        Self::Pcap(Order::Little, Fraction::Nano),
        Self::Pcap(Order::Big, Fraction::Nano),
        Self::PcapNg(Order::Little),
        Self::PcapNg(Order::Big),
    ];
}

/// Bytes of a file, and how it writes numbers.
pub(super) struct Writer {
    order: Order,
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(order: Order) -> Self {
        Self { order, bytes: Vec::new() }
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        })
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        })
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&match self.order {
            Order::Little => value.to_le_bytes(),
            Order::Big => value.to_be_bytes(),
        })
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A block of pcapng: its body is padded to four bytes.
    pub(super) fn block(&mut self, kind: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::new(self.order);
        body(&mut inner);
        inner.bytes.resize(inner.bytes.len().next_multiple_of(4), 0);
        let length = inner.bytes.len() as u32 + 12;
        self.u32(kind).u32(length).raw(&inner.bytes).u32(length)
    }

    pub(super) fn section(&mut self) -> &mut Self {
        self.block(0x0a0d_0d0a, |body| _ = body.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX))
    }

    /// An interface with nanoseconds, or with a resolution and an offset of its own.
    pub(super) fn interface(&mut self, link: Link, clock: Option<(u8, i64)>) -> &mut Self {
        self.block(1, |body| {
            body.u16(link.number() as u16).u16(0).u32(0);
            if let Some((resolution, offset)) = clock {
                body.u16(9).u16(1).raw(&[resolution, 0, 0, 0]);
                body.u16(14).u16(8).u64(offset.cast_unsigned());
                body.u16(0).u16(0);
            }
        })
    }

    /// An Enhanced Packet Block.
    pub(super) fn enhanced(&mut self, interface: u32, ticks: u64, frame: &[u8], length: usize) -> &mut Self {
        self.block(6, |body| {
            body.u32(interface).u32((ticks >> 32) as u32).u32(ticks as u32);
            body.u32(frame.len() as u32).u32(length as u32).raw(frame);
        })
    }

    /// A Simple Packet Block.
    pub(super) fn simple(&mut self, frame: &[u8]) -> &mut Self {
        self.block(3, |body| _ = body.u32(frame.len() as u32).raw(frame))
    }
}

/// A file of packets.
pub(super) fn file(format: Format, link: Link, packets: &[Packet]) -> Vec<u8> {
    let frames = packets.iter().map(|packet| {
        let frame = link.frame(&packet.ip);
        let length = frame.len();
        (packet.time, frame[..length.min(packet.snap)].to_vec(), length)
    });
    match format {
        Format::Pcap(order, fraction) => {
            let mut writer = Writer::new(order);
            let (magic, unit) = match fraction {
                Fraction::Micro => (0xa1b2_c3d4, 1_000),
                Fraction::Nano => (0xa1b2_3c4d, 1),
            };
            writer.u32(magic).u16(2).u16(4).u64(0).u32(262_144).u32(link.number());
            for (time, frame, length) in frames {
                let (seconds, rest) = (time / 1_000_000_000, time % 1_000_000_000);
                writer.u32(seconds as u32).u32(rest as u32 / unit).u32(frame.len() as u32);
                writer.u32(length as u32).raw(&frame);
            }
            writer.bytes
        }
        Format::PcapNg(order) => {
            let mut writer = Writer::new(order);
            writer.section().interface(link, Some((9, 0)));
            for (time, frame, length) in frames {
                writer.enhanced(0, time, &frame, length);
            }
            writer.bytes
        }
    }
}

/// Three requests, one of them answered with 500, each in its time.
pub(super) fn three_requests() -> Vec<Packet> {
    let mut wire = Wire::open();
    wire.ask(GET).wait(2 * MS).answer(OK).wait(MS);
    wire.ask("POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").wait(4 * MS);
    wire.answer("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n").wait(MS).answer("no").wait(MS);
    wire.ask(GET).wait(3 * MS).answer(OK).close();
    wire.packets
}

#[test]
fn every_kind_of_file_comes_to_the_same() {
    for format in Format::ALL {
        let report = replay(file(format, Link::Ethernet, &three_requests()));
        nothing_escaped(&report);
        let service = only(&report);
        assert_eq!((service.service.as_str(), service.protocol), ("10.0.0.1:80", "http1"), "{format:?}");
        assert_eq!(kinds(service), ["GET 200: 2", "POST 500: 1"], "{format:?}");
        assert_eq!((service.requests, service.responses), (3, 3));
        assert_eq!((service.client_errors, service.server_errors, service.aborted), (0, 1, 0));
        let (first, whole) = (&service.time_to_first_byte, &service.duration);
        assert_eq!((first.count, whole.count), (3, 3));
        assert!((first.sum_seconds - 0.009).abs() < 1e-9, "{format:?}: {first:?}");
        assert!((first.max_seconds - 0.004).abs() < 1e-9, "{format:?}: {first:?}");
        assert!((whole.sum_seconds - 0.010).abs() < 1e-9, "{format:?}: {whole:?}");
        assert!((whole.max_seconds - 0.005).abs() < 1e-9, "{format:?}: {whole:?}");
        assert_eq!((service.bytes.received, service.bytes.sent), (2 * 27 + 42, 2 * 43 + 40));
        assert_eq!(report.capture.packets, 3 + 7 + 3);
        assert_eq!(report.capture.first.as_deref(), Some("2023-11-14T22:13:20.000000000Z"));
        assert_eq!(report.capture.last.as_deref(), Some("2023-11-14T22:13:20.012000000Z"));
        assert!((report.capture.seconds - 0.012).abs() < 1e-12);
    }
}

#[test]
fn every_link_layer_comes_to_the_same() {
    for link in [&Link::OF_BOTH[..], &[Link::Ipv4]].concat() {
        let report = replay(file(Format::PCAP, link, &three_requests()));
        nothing_escaped(&report);
        assert_eq!(kinds(only(&report)), ["GET 200: 2", "POST 500: 1"], "{link:?}");
    }
    let mut wire = Wire::between("[fd00::2]:40000", "[fd00::1]:80");
    wire.shake().ask(GET).answer(OK).close();
    for link in [&Link::OF_BOTH[..], &[Link::Ipv6]].concat() {
        let report = replay(file(Format::PCAP, link, &wire.packets));
        nothing_escaped(&report);
        let service = only(&report);
        assert_eq!(service.service, "[fd00::1]:80");
        assert_eq!(kinds(service), ["GET 200: 1"], "{link:?}");
    }
}

#[test]
fn packets_of_an_unknown_link_layer_are_counted_as_skipped() {
    let report = replay(file(Format::PCAP, Link::Wireless, &three_requests()));
    assert!(report.services.is_empty());
    assert_eq!(report.capture.skipped, [("unknown_link", 13)].into());
}

/// Each interface with its own link layer and clock, in sections of both orders; blocks that are not known in between.
#[test]
fn interfaces_and_sections_each_have_their_own_ways() {
    let packets = three_requests();
    let (first, second) = packets.split_at(6);
    let mut file = Vec::new();
    for (order, packets) in [(Order::Little, first), (Order::Big, second)] {
        let mut writer = Writer::new(order);
        writer.section();
        // Nanoseconds from a second later on; 2^-20 s from the start of the capture on; microseconds, unsaid.
        writer.interface(Link::Raw, Some((9, 1)));
        writer.interface(Link::Sll2, Some((0x94, 1_700_000_000)));
        writer.interface(Link::Vlan, None);
        for (number, packet) in packets.iter().enumerate() {
            writer.block(0x0bad_cafe, |body| _ = body.raw(b"what nobody knows"));
            // Name resolution and statistics, which are known and say nothing here.
            writer.block(4, |body| _ = body.u16(0).u16(0));
            let (interface, link, ticks) = match number % 3 {
                0 => (0, Link::Raw, packet.time - 1_000_000_000),
                1 => (1, Link::Sll2, ((packet.time - START) << 20).div_ceil(1_000_000_000)),
                _ => (2, Link::Vlan, packet.time / 1_000),
            };
            let frame = link.frame(&packet.ip);
            writer.enhanced(interface, ticks, &frame, frame.len());
        }
        file.extend(writer.bytes);
    }
    let report = replay(file);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 2", "POST 500: 1"]);
    // Within the coarsest clock's resolution.
    assert!((service.duration.sum_seconds - 0.010).abs() < 1e-5, "{:?}", service.duration);
    assert!((report.capture.seconds - 0.012).abs() < 1e-5);
}

#[test]
fn packets_without_a_time_have_that_of_the_one_before() {
    let packets = three_requests();
    let mut writer = Writer::new(Order::Little);
    writer.section().interface(Link::Ethernet, None);
    for packet in &packets {
        writer.simple(&Link::Ethernet.frame(&packet.ip));
    }
    let report = replay(writer.bytes);
    nothing_escaped(&report);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 2", "POST 500: 1"]);
    assert!(service.duration.sum_seconds.abs() < 1e-12);
}

#[test]
fn a_packet_of_an_interface_that_is_not_described_is_skipped() {
    let packets = three_requests();
    let mut writer = Writer::new(Order::Little);
    writer.section().interface(Link::Ethernet, None);
    let frame = Link::Ethernet.frame(&packets[0].ip);
    writer.enhanced(7, 0, &frame, frame.len());
    // And one in the kind of block that was given up.
    writer.block(2, |body| _ = body.raw(&[0; 20]));
    let report = replay(writer.bytes);
    assert_eq!(report.capture.skipped, [("obsolete_block", 1), ("unknown_interface", 1)].into());
    assert_eq!(report.capture.packets, 2);
}
