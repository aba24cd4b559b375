//! Frames made by hand, each field where its RFC has it.

use probe_fuzz::script::Delivery;

/// Bytes of payload of every frame here.
pub(crate) const PAYLOAD: usize = 100;

/// TCP options: a timestamp, as nearly every segment bears.
const OPTIONS: usize = 12;

/// An Ethernet header with a packet behind it.
pub(crate) fn ethernet(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

/// A VLAN tag with what it tags (IEEE 802.1Q).
pub(crate) fn tagged(vlan: u16, ethertype: u16, packet: &[u8]) -> Vec<u8> {
    [&vlan.to_be_bytes(), &ethertype.to_be_bytes(), packet].concat()
}

/// An IPv4 packet (RFC 791, section 3.1), `options` bytes of options in its header.
pub(crate) fn ipv4(protocol: u8, options: usize, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options;
    let length = u16::try_from(header + payload.len()).expect("a small packet");
    let words = u8::try_from(header / 4).expect("a small header");
    let mut packet = vec![0x40 | words, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(vec![1; options]);
    packet.extend(payload);
    packet
}

/// An IPv6 packet (RFC 8200, section 3).
pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).expect("a small packet").to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0xfd; 32]);
    packet.extend(payload);
    packet
}

/// A TCP segment with a timestamp (RFC 9293, section 3.1).
pub(crate) fn tcp() -> Vec<u8> {
    let mut segment = vec![0x30, 0x39, 0, 80];
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend([1; OPTIONS]);
    segment.extend([b'x'; PAYLOAD]);
    segment
}

/// A TCP segment of a conversation, between ports that are the same either way.
pub(crate) fn segment(delivery: &Delivery) -> Vec<u8> {
    let mut segment = vec![0, 80, 0, 80];
    segment.extend(delivery.sequence.to_be_bytes());
    segment.extend(delivery.acknowledged.to_be_bytes());
    // ACK, and at the end FIN.
    segment.extend([0x50, 0x10 | u8::from(delivery.fin), 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(&delivery.bytes);
    segment
}

/// A UDP datagram (RFC 768).
pub(crate) fn udp() -> Vec<u8> {
    let mut datagram = vec![0x30, 0x39, 0, 53, 0, 108, 0, 0];
    datagram.extend([b'x'; PAYLOAD]);
    datagram
}
