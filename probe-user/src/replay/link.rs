//! Link layers: where the IP packet is in a captured frame.

use etherparse::{EtherType, Ethernet2HeaderSlice, SingleVlanHeaderSlice};

use super::{capture::Record, skip::Skip};

// Numbers of the registry at tcpdump.org.
const NULL: u16 = 0;
const ETHERNET: u16 = 1;
/// `LINKTYPE_RAW` is 101; these two are what systems have written of their own.
const RAW: [u16; 3] = [101, 12, 14];
const LOOP: u16 = 108;
const LINUX_SLL: u16 = 113;
const IPV4: u16 = 228;
const IPV6: u16 = 229;
const LINUX_SLL2: u16 = 276;

/// `AF_INET`, and what different systems call `AF_INET6`.
const FAMILIES: [u32; 5] = [2, 10, 24, 28, 30];

/// An IP packet within a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inner<'a> {
    /// What was captured of it, and of what may follow it.
    pub(super) bytes: &'a [u8],
    /// How long all of that was on the wire.
    pub(super) length: usize,
}

/// Takes the link layer away.
pub(super) fn strip<'a>(record: &Record<'a>) -> Result<Inner<'a>, Skip> {
    let frame = Inner { bytes: record.bytes, length: record.length };
    match record.link {
        ETHERNET => {
            let header = Ethernet2HeaderSlice::from_slice(frame.bytes).map_err(|_| Skip::CutHeader)?;
            frame.after(header.slice().len())?.below(header.ether_type())
        }
        // Only the protocol at the header's end counts; what is before it depends on the kind of interface.
        LINUX_SLL => frame.after(16)?.below(ether_type(frame.bytes, 14)?),
        LINUX_SLL2 => frame.after(20)?.below(ether_type(frame.bytes, 0)?),
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

impl Inner<'_> {
    fn after(self, header: usize) -> Result<Self, Skip> {
        let bytes = self.bytes.get(header..).ok_or(Skip::CutHeader)?;
        Ok(Self { bytes, length: self.length - header })
    }

    /// What is below the tags of VLANs, however many there are.
    fn below(self, mut ether_type: EtherType) -> Result<Self, Skip> {
        let mut inner = self;
        while matches!(
            ether_type,
            EtherType::VLAN_TAGGED_FRAME | EtherType::PROVIDER_BRIDGING | EtherType::VLAN_DOUBLE_TAGGED_FRAME
        ) {
            let tag = SingleVlanHeaderSlice::from_slice(inner.bytes).map_err(|_| Skip::CutHeader)?;
            ether_type = tag.ether_type();
            inner = inner.after(tag.slice().len())?;
        }
        match ether_type {
            EtherType::IPV4 | EtherType::IPV6 => Ok(inner),
            _ => Err(Skip::NotIp),
        }
    }
}

fn ether_type(header: &[u8], offset: usize) -> Result<EtherType, Skip> {
    let bytes = header.get(offset..).and_then(<[u8]>::first_chunk).ok_or(Skip::CutHeader)?;
    Ok(EtherType(u16::from_be_bytes(*bytes)))
}
