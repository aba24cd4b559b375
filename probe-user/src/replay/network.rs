//! IP: the payload of a packet, and how long it was, whatever was captured of it.

use std::{borrow::Cow, net::IpAddr};

use etherparse::{IpNumber, Ipv6ExtensionSlice, Ipv6ExtensionsSlice, Ipv6RawExtHeaderSlice, LaxIpSlice, err};

use super::{
    fragments::{Fragment, Fragments, Identity},
    link::Inner,
    skip::Skip,
};

/// Type of the option that says how long an IPv6 packet is that is longer than its header can say (RFC 2675).
const JUMBO: u8 = 0xc2;

/// Longer than any packet: TCP's sequence numbers would not tell before from behind.
const LONGEST: usize = 1 << 30;

/// What IP carries.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpNumber,
    /// What was captured of the payload.
    pub(super) payload: Cow<'a, [u8]>,
    /// How long the payload was.
    pub(super) length: usize,
}

/// Takes the IP headers away; none if it is a fragment, and others are still to come.
pub(super) fn datagram<'a>(
    inner: Inner<'a>,
    time: u64,
    fragments: &mut Fragments,
) -> Result<Option<Datagram<'a>>, Skip> {
    let cut = if inner.bytes.len() < inner.length { Skip::CutHeader } else { Skip::BadHeader };
    let (ip, stopped) = LaxIpSlice::from_slice(inner.bytes).map_err(|error| match error {
        err::ip::LaxHeaderSliceError::Len(_) => cut,
        err::ip::LaxHeaderSliceError::Content(_) => Skip::BadHeader,
    })?;
    if stopped.is_some() {
        return Err(cut);
    }
    let (headers, total) = lengths(&ip, inner.length);
    let length = total.checked_sub(headers).filter(|length| *length <= LONGEST).ok_or(Skip::BadHeader)?;
    let payload = inner.bytes.get(headers..).unwrap_or_default();
    let payload = &payload[..payload.len().min(length)];
    let datagram = Datagram {
        source: ip.source_addr(),
        destination: ip.destination_addr(),
        protocol: ip.payload_ip_number(),
        payload: Cow::Borrowed(payload),
        length,
    };
    match fragment(&ip) {
        None => Ok(Some(datagram)),
        Some(_) if payload.len() < length => Err(Skip::CutFragment),
        Some(fragment) => {
            fragments.add(fragment, payload, time)?.map(|whole| datagram.with(whole)).transpose()
        }
    }
}

impl Datagram<'_> {
    /// The same with a payload that was put together.
    fn with<'a>(self, whole: Vec<u8>) -> Result<Datagram<'a>, Skip> {
        let (mut protocol, mut payload) = (self.protocol, whole);
        if self.source.is_ipv6() {
            // Some extension headers come behind the fragment's own, and were taken apart with the rest.
            let (_, next, rest) =
                Ipv6ExtensionsSlice::from_slice(protocol, &payload).map_err(|_| Skip::BadHeader)?;
            protocol = next;
            payload = rest.to_vec();
        }
        let length = payload.len();
        let payload = Cow::Owned(payload);
        Ok(Datagram { source: self.source, destination: self.destination, protocol, payload, length })
    }
}

/// How long the headers are, and all of the packet.
fn lengths(ip: &LaxIpSlice<'_>, on_the_wire: usize) -> (usize, usize) {
    match ip {
        LaxIpSlice::Ipv4(ipv4) => {
            let authentication = ipv4.extensions().auth.map_or(0, |header| header.slice().len());
            let headers = ipv4.header().slice().len() + authentication;
            // 0 is what offloading leaves there: the length will be known once the packet has been cut up.
            match usize::from(ipv4.header().total_len()) {
                0 => (headers, on_the_wire),
                total => (headers, total),
            }
        }
        LaxIpSlice::Ipv6(ipv6) => {
            let fixed = ipv6.header().slice().len();
            let headers = fixed + ipv6.extensions().slice().len();
            match usize::from(ipv6.header().payload_length()) {
                0 => (headers, jumbo(ipv6.extensions()).map_or(on_the_wire, |length| fixed + length)),
                length => (headers, fixed + length),
            }
        }
    }
}

/// The payload's length from the option for jumbograms.
fn jumbo(extensions: &Ipv6ExtensionsSlice<'_>) -> Option<usize> {
    let Some(Ipv6ExtensionSlice::HopByHop(header)) = extensions.clone().into_iter().next() else {
        return None;
    };
    let mut options = options(&header);
    loop {
        match options {
            // Padding of one byte has no length.
            [0, rest @ ..] => options = rest,
            [JUMBO, 4, a, b, c, d, ..] => return usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok(),
            [_, length, rest @ ..] => options = rest.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

/// A hop-by-hop header behind its first two bytes.
fn options<'a>(header: &Ipv6RawExtHeaderSlice<'a>) -> &'a [u8] {
    header.payload()
}

/// Of which packet it is a fragment, and which.
fn fragment(ip: &LaxIpSlice<'_>) -> Option<Fragment> {
    if !ip.is_fragmenting_payload() {
        return None;
    }
    let (identification, offset, more) = match ip {
        LaxIpSlice::Ipv4(ipv4) => {
            let header = ipv4.header();
            (u32::from(header.identification()), header.fragments_offset(), header.more_fragments())
        }
        LaxIpSlice::Ipv6(ipv6) => {
            let header = ipv6.extensions().clone().into_iter().find_map(|extension| match extension {
                Ipv6ExtensionSlice::Fragment(header) => Some(header),
                _ => None,
            })?;
            (header.identification(), header.fragment_offset(), header.more_fragments())
        }
    };
    let identity = Identity {
        source: ip.source_addr(),
        destination: ip.destination_addr(),
        protocol: ip.payload_ip_number(),
        identification,
    };
    Some(Fragment { identity, offset, more })
}
