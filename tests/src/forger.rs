//! Frames that mean no good: cut, contradicting themselves and each other, with absurd offsets, lengths and
//! chains. By chances that a seed determines.

use std::net::{Ipv4Addr, Ipv6Addr};

use fastrand::Rng;

/// The shortest frame, and the longest of an Ethernet with the usual MTU.
const SHORTEST: usize = 14;
const LONGEST: usize = 1514;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const FRAGMENT: u8 = 44;

/// Extension headers of IPv6, and what looks like one.
const EXTENSIONS: [u8; 10] = [0, 43, FRAGMENT, 50, 51, 59, 60, 135, 139, 253];

/// Whom frames go to. They come from 198.51.100.0/24 and `2001:db8::/32`, which nobody has (RFC 5737, RFC 3849).
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Address of the interface.
    pub mac: [u8; 6],
    /// Its address by IPv4.
    pub ipv4: Ipv4Addr,
    /// Its address by IPv6.
    pub ipv6: Ipv6Addr,
    /// The port that somebody listens at.
    pub port: u16,
}

/// Makes a packet, and says by which name Ethernet knows its protocol.
type Kind = fn(&mut Forger) -> (u16, Vec<u8>);

/// Makes frames.
#[derive(Debug)]
pub struct Forger {
    chance: Rng,
    target: Target,
    /// Who sends the frame.
    host: u16,
}

impl Forger {
    /// One whose frames the seed determines.
    #[must_use]
    pub fn new(target: Target, seed: u64) -> Self {
        Self { chance: Rng::with_seed(seed), target, host: 0 }
    }

    /// Makes a frame of Ethernet, with 14 to 1,514 bytes.
    pub fn frame(&mut self) -> Vec<u8> {
        let kinds: [Kind; 8] = [
            Self::segment,
            Self::segment,
            Self::contradiction,
            Self::fragment,
            Self::fragment_of_ipv6,
            Self::chain,
            Self::other_protocol,
            Self::noise,
        ];
        self.host = self.chance.u16(..);
        let make = self.pick(&kinds);
        let (ether_type, packet) = make(self);
        let mut frame = [self.target.mac, [2, 0, 0, 0, 0, 9]].concat();
        if self.one_in(6) {
            let depth = if self.chance.bool() { self.chance.usize(1..4) } else { self.chance.usize(1..370) };
            for _ in 0..depth {
                frame.extend(self.pick(&TAGS).to_be_bytes());
                frame.extend(self.chance.u16(..).to_be_bytes());
            }
        }
        // At times a packet of one family by the name of the other, or of a length as IEEE 802.3 has it.
        let said = if self.one_in(20) { self.pick(&[IPV4, IPV6, 46, 0x88cc, 0]) } else { ether_type };
        frame.extend(said.to_be_bytes());
        frame.extend(packet);
        let cut = if self.one_in(5) { self.chance.usize(SHORTEST..=frame.len()) } else { LONGEST };
        frame.truncate(cut.min(LONGEST));
        frame
    }

    /// A whole segment of TCP that means nothing to anybody.
    fn segment(&mut self) -> (u16, Vec<u8>) {
        if self.chance.bool() {
            let tcp = self.tcp(Family::V4);
            (IPV4, self.ipv4(TCP, 0, &tcp))
        } else {
            let tcp = self.tcp(Family::V6);
            (IPV6, self.ipv6(TCP, &tcp))
        }
    }

    /// A packet whose IP header contradicts itself, or what follows.
    fn contradiction(&mut self) -> (u16, Vec<u8>) {
        let (ether_type, mut packet) = self.segment();
        let wrong = self.chance.u16(..);
        let [high, low] = self.pick(&[0, 1, 19, 20, 21, 39, 40, u16::MAX, wrong]).to_be_bytes();
        if ether_type == IPV4 {
            match self.chance.u8(..4) {
                0 => packet[0] = 0x40 | self.chance.u8(..16),
                1 => packet[0] = self.chance.u8(..),
                _ => [packet[2], packet[3]] = [high, low],
            }
            // So that the kernel comes as far as what is wrong.
            seal_ipv4(&mut packet);
        } else if self.chance.u8(..4) == 0 {
            packet[0] = self.chance.u8(..);
        } else {
            [packet[4], packet[5]] = [high, low];
        }
        (ether_type, packet)
    }

    /// A fragment of one of a few packets, which the others overlap and contradict.
    fn fragment(&mut self) -> (u16, Vec<u8>) {
        let field = self.offset() >> 3 | if self.chance.bool() { 0x2000 } else { 0 };
        let content = self.content(400);
        let protocol = self.pick(&[TCP, UDP, ICMP]);
        let mut packet = self.ipv4(protocol, field, &content);
        // One of four packets of one sender.
        packet[4..6].copy_from_slice(&[0, self.chance.u8(..4)]);
        packet[12..16].copy_from_slice(&[198, 51, 100, 1]);
        seal_ipv4(&mut packet);
        (IPV4, packet)
    }

    fn fragment_of_ipv6(&mut self) -> (u16, Vec<u8>) {
        let next = self.pick(&[TCP, UDP, FRAGMENT, 0, 60]);
        let field = (self.offset() & 0xfff8) | u16::from(self.chance.bool());
        let mut content = vec![next, self.pick(&[0, 0, 0, 7])];
        content.extend(field.to_be_bytes());
        content.extend([0, 0, 0, self.chance.u8(..4)]);
        content.extend(self.content(400));
        let mut packet = self.ipv6(FRAGMENT, &content);
        packet[8..24].copy_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
        (IPV6, packet)
    }

    /// Where a fragment lies: most near each other, some at the end of all that a packet can be.
    fn offset(&mut self) -> u16 {
        match self.chance.u8(..8) {
            0 => 65_528,
            1 => self.chance.u16(..) & 0xfff8,
            _ => self.chance.u16(..64) * 8,
        }
    }

    /// Extension headers of IPv6 in any number and order, some of which say that they are longer than the packet.
    fn chain(&mut self) -> (u16, Vec<u8>) {
        let mut chain = Vec::new();
        let first = self.pick(&EXTENSIONS);
        let headers = if self.chance.bool() { self.chance.usize(1..6) } else { self.chance.usize(1..150) };
        for number in (0..headers).rev() {
            // At times the last one names another of which there is nothing any more.
            let next = if number > 0 || self.one_in(4) { self.pick(&EXTENSIONS) } else { TCP };
            let words = if self.one_in(10) { self.chance.u8(..) } else { 0 };
            chain.extend([next, words]);
            let options =
                self.pick(&[[1, 4, 0, 0, 0, 0], [0xc2, 4, 0xff, 0xff, 0xff, 0xff], [0x3e, 0xff, 0, 0, 0, 0]]);
            chain.extend(options);
            let there = if self.one_in(20) { 0 } else { usize::from(words) };
            chain.extend(vec![0; there.min(20) * 8]);
        }
        chain.extend(self.tcp(Family::V6));
        (IPV6, self.ipv6(first, &chain))
    }

    fn other_protocol(&mut self) -> (u16, Vec<u8>) {
        let content = self.content(100);
        let protocol = self.chance.u8(..);
        if self.chance.bool() {
            (IPV4, self.ipv4(protocol, 0, &content))
        } else {
            (IPV6, self.ipv6(protocol, &content))
        }
    }

    fn noise(&mut self) -> (u16, Vec<u8>) {
        let ether_type = self.chance.u16(..);
        (self.pick(&[IPV4, IPV6, 0x0806, ether_type]), self.content(1400))
    }

    fn tcp(&mut self, family: Family) -> Vec<u8> {
        let mut segment = self.chance.u16(1024..).to_be_bytes().to_vec();
        segment.extend(self.target.port.to_be_bytes());
        segment.extend(self.chance.u32(..).to_be_bytes());
        segment.extend(self.chance.u32(..).to_be_bytes());
        let words = if self.one_in(3) { self.chance.u8(..16) } else { 5 };
        // Every flag, among them all at once and none.
        let flags = match self.chance.u8(..8) {
            0 => 0xff,
            1 => 0,
            // What may open a connection, or speak on one.
            2 | 3 => self.pick(&[2, 0x10, 0x18, 0x38]),
            _ => self.chance.u8(..),
        };
        segment.extend([words << 4, flags]);
        segment.extend(self.pick(&[0, 1, u16::MAX]).to_be_bytes());
        segment.extend([0, 0]);
        segment.extend(self.chance.u16(..).to_be_bytes());
        // Options: of length 0, 1 and 255 among others.
        for _ in 5..words.max(5) {
            let option = self.chance.u32(..);
            segment.extend(self.pick(&[0x0200_0204, 0x0301_0303, 0x08ff_0805, 0, option]).to_be_bytes());
        }
        segment.extend(match self.chance.u8(..3) {
            0 => Vec::new(),
            1 => b"GET /forged HTTP/1.1\r\nHost: forged\r\n\r\n".to_vec(),
            _ => self.content(200),
        });
        if !self.one_in(10) {
            let (source, target) = self.addresses(family);
            let sum = checksum(&[&source, &target, &pseudo(segment.len()), &segment]);
            segment[16..18].copy_from_slice(&sum);
        }
        segment
    }

    fn ipv4(&mut self, protocol: u8, fragment: u16, content: &[u8]) -> Vec<u8> {
        let (source, target) = self.addresses(Family::V4);
        let mut packet = vec![0x45, 0];
        packet.extend(short(20 + content.len()).to_be_bytes());
        packet.extend(self.chance.u16(..).to_be_bytes());
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0, 0]);
        packet.extend([source, target].concat());
        packet.extend(content);
        seal_ipv4(&mut packet);
        packet
    }

    fn ipv6(&mut self, next: u8, content: &[u8]) -> Vec<u8> {
        let (source, target) = self.addresses(Family::V6);
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(short(content.len()).to_be_bytes());
        packet.extend([next, 64]);
        packet.extend([source, target].concat());
        packet.extend(content);
        packet
    }

    fn addresses(&self, family: Family) -> (Vec<u8>, Vec<u8>) {
        match family {
            Family::V4 => {
                (vec![198, 51, 100, self.host.to_be_bytes()[1]], self.target.ipv4.octets().to_vec())
            }
            Family::V6 => {
                let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.host);
                (source.octets().to_vec(), self.target.ipv6.octets().to_vec())
            }
        }
    }

    fn content(&mut self, longest: usize) -> Vec<u8> {
        let length = self.chance.usize(..=longest);
        (0..length).map(|_| self.chance.u8(..)).collect()
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.chance.u32(..times) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.chance.usize(..of.len())]
    }
}

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// The rest of TCP's pseudo header; the same sum by IPv4 and IPv6.
fn pseudo(length: usize) -> [u8; 4] {
    let [high, low] = short(length).to_be_bytes();
    [0, TCP, high, low]
}

/// The checksum of IP and TCP over parts of even length but for the last (RFC 1071).
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = pairs.map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    u16::try_from(!folded & 0xffff).unwrap_or_default().to_be_bytes()
}

/// Puts the checksum of IPv4's header right, as far as there is one.
fn seal_ipv4(packet: &mut [u8]) {
    let length = (usize::from(packet[0] & 0xf) * 4).clamp(20, packet.len().max(20));
    let Some(header) = packet.get_mut(..length) else { return };
    header[10..12].fill(0);
    let sum = checksum(&[header]);
    header[10..12].copy_from_slice(&sum);
}
