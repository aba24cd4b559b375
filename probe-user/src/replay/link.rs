//! Link layers: where the IP packet is in a captured frame.

use etherparse::{EtherType, Ethernet2HeaderSlice, SingleVlanHeaderSlice};

use super::{capture::Record, skip::Skip};

// Numbers of the registry at tcpdump.org.
const NULL: u16 = 0;
const ETHERNET: u16 = 1;
/// With or without the framing of serial lines.
const PPP: [u16; 2] = [9, 50];
const PPPOE: u16 = 51;
/// `LINKTYPE_RAW` is 101; these two are what systems have written of their own.
const RAW: [u16; 3] = [101, 12, 14];
const LOOP: u16 = 108;
const LINUX_SLL: u16 = 113;
const IPV4: u16 = 228;
const IPV6: u16 = 229;
const LINUX_SLL2: u16 = 276;

/// `AF_INET`, and what different systems call `AF_INET6`.
const FAMILIES: [u32; 5] = [2, 10, 24, 28, 30];

// Numbers of IEEE's registry of Ethernet types.
const MPLS: [u16; 2] = [0x8847, 0x8848];
const PPPOE_SESSION: u16 = 0x8864;
/// Below it, the field is the frame's length (IEEE 802.3).
const FIRST_TYPE: u16 = 0x0600;

/// What Linux calls a frame of 802.3 that begins with the header of LLC (`ETH_P_802_2`).
const SLL_LLC: u16 = 4;

/// Headers within each other that are taken away, at most: frames in labels in frames.
const DEEPEST: u8 = 8;

/// An IP packet within a frame, or a part of it that bears one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner<'a> {
    /// What was captured of it, and of what may follow it.
    pub(super) bytes: &'a [u8],
    /// How long all of that was on the wire.
    pub(super) length: usize,
    /// How many times it was within something else.
    depth: u8,
}

/// Takes the link layer away.
pub(super) fn strip<'a>(record: &Record<'a>) -> Result<Inner<'a>, Skip> {
    let frame = Inner::new(record.bytes, record.length);
    match record.link {
        ETHERNET => frame.ethernet(),
        link if PPP.contains(&link) => frame.ppp(),
        PPPOE => frame.pppoe(),
        // Only the protocol at the header's end counts; what is before it depends on the kind of interface.
        LINUX_SLL => frame.after(16)?.cooked(frame.word(14)?),
        LINUX_SLL2 => frame.after(20)?.cooked(frame.word(0)?),
        link if RAW.contains(&link) => Ok(frame),
        IPV4 | IPV6 => Ok(frame),
        NULL | LOOP => {
            let family = frame.bytes.first_chunk().ok_or(Skip::CutHeader)?;
            // In the byte order of the machine that captured it, or of the network: small numbers tell which.
            let known = [u32::from_be_bytes(*family), u32::from_le_bytes(*family)];
            if known.iter().any(|family| FAMILIES.contains(family)) {
                frame.after(4)
            } else {
                Err(Skip::NotIp)
            }
        }
        _ => Err(Skip::UnknownLink),
    }
}

impl<'a> Inner<'a> {
    /// Of which so many bytes were on the wire.
    pub(super) const fn new(bytes: &'a [u8], length: usize) -> Self {
        Self { bytes, length, depth: 0 }
    }

    /// The same, where it was found within so many others.
    pub(super) const fn at(self, depth: u8) -> Self {
        Self { depth, ..self }
    }

    /// How many times it was within something else.
    pub(super) const fn depth(&self) -> u8 {
        self.depth
    }

    /// What is behind a header.
    pub(super) fn after(self, header: usize) -> Result<Self, Skip> {
        let bytes = self.bytes.get(header..).ok_or(Skip::CutHeader)?;
        let length = self.length.checked_sub(header).ok_or(Skip::BadHeader)?;
        Ok(Self { bytes, length, ..self })
    }

    /// The byte at an offset.
    pub(super) fn byte(&self, offset: usize) -> Result<u8, Skip> {
        self.bytes.get(offset).copied().ok_or(Skip::CutHeader)
    }

    /// Two bytes at an offset, as a number.
    pub(super) fn word(&self, offset: usize) -> Result<u16, Skip> {
        let bytes = self.bytes.get(offset..).and_then(<[u8]>::first_chunk).ok_or(Skip::CutHeader)?;
        Ok(u16::from_be_bytes(*bytes))
    }

    /// Of this, what is within a frame of Ethernet.
    pub(super) fn ethernet(self) -> Result<Self, Skip> {
        let header = Ethernet2HeaderSlice::from_slice(self.bytes).map_err(|_| Skip::CutHeader)?;
        self.after(header.slice().len())?.below(header.ether_type().0)
    }

    /// What a Linux cooked header announces.
    fn cooked(self, protocol: u16) -> Result<Self, Skip> {
        match protocol {
            SLL_LLC => self.llc(),
            ..FIRST_TYPE => Err(Skip::NotIp),
            _ => self.below(protocol),
        }
    }

    /// What an Ethernet type announces, below the tags of VLANs, however many there are.
    pub(super) fn below(self, mut ether_type: u16) -> Result<Self, Skip> {
        let mut inner = self;
        while matches!(
            EtherType(ether_type),
            EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING | EtherType::VLAN_DOUBLE_TAGGED_FRAME
        ) {
            let tag = SingleVlanHeaderSlice::from_slice(inner.bytes).map_err(|_| Skip::CutHeader)?;
            ether_type = tag.ether_type().0;
            inner = inner.after(tag.slice().len())?;
        }
        match EtherType(ether_type) {
            EtherType::IPV4 | EtherType::IPV6 => Ok(inner),
            _ if MPLS.contains(&ether_type) => inner.mpls(),
            _ if ether_type == PPPOE_SESSION => inner.pppoe(),
            _ if ether_type < FIRST_TYPE => inner.llc(),
            _ => Err(Skip::NotIp),
        }
    }

    /// Behind the header of LLC (IEEE 802.2), by SNAP (RFC 1042) or without. What pads the frame, IP's own length leaves out.
    fn llc(self) -> Result<Self, Skip> {
        match self.bytes {
            [0xaa, 0xaa, 3, 0, 0, 0, ..] => {
                let ether_type = self.word(6)?;
                if ether_type < FIRST_TYPE {
                    Err(Skip::NotIp)
                } else {
                    self.after(8)?.deeper()?.below(ether_type)
                }
            }
            [0x06, 0x06, 3, ..] => self.after(3),
            [_, _, _, ..] => Err(Skip::NotIp),
            _ => Err(Skip::CutHeader),
        }
    }

    /// Behind the labels of MPLS (RFC 3032): nothing says what follows them, but that IP begins with its version, and a
    /// pseudowire for Ethernet with zeros (RFC 4385) or with an address.
    pub(super) fn mpls(self) -> Result<Self, Skip> {
        let mut inner = self;
        loop {
            let last = inner.byte(2)? & 1 == 1;
            inner = inner.after(4)?;
            if last {
                break;
            }
        }
        match inner.byte(0)? >> 4 {
            4 | 6 => Ok(inner),
            0 => inner.after(4)?.deeper()?.ethernet(),
            _ => inner.deeper()?.ethernet(),
        }
    }

    /// A session of PPP over Ethernet (RFC 2516).
    fn pppoe(self) -> Result<Self, Skip> {
        // Version and type 1, and the code of a session's data.
        if self.word(0)? != 0x1100 {
            return Err(Skip::NotIp);
        }
        self.after(6)?.ppp()
    }

    /// PPP (RFC 1661), with or without the address and control of serial lines, and with its protocol in one byte or two.
    pub(super) fn ppp(self) -> Result<Self, Skip> {
        let inner = if self.bytes.starts_with(&[0xff, 3]) { self.after(2)? } else { self };
        let first = inner.byte(0)?;
        let (protocol, header) = if first & 1 == 1 { (first.into(), 1) } else { (inner.word(0)?, 2) };
        let inner = inner.after(header)?;
        match protocol {
            0x0021 | 0x0057 => Ok(inner),
            0x0281 | 0x0283 => inner.deeper()?.mpls(),
            _ => Err(Skip::NotIp),
        }
    }

    /// The same, within one thing more.
    pub(super) fn deeper(self) -> Result<Self, Skip> {
        if self.depth >= DEEPEST { Err(Skip::Tunnel) } else { Ok(Self { depth: self.depth + 1, ..self }) }
    }
}
