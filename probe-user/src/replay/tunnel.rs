//! Tunnels: IP packets within IP packets, as overlay networks send them between nodes.

use etherparse::IpNumber;

use super::{link::Inner, network::Datagram, skip::Skip};

// Destination ports of the registry at IANA, but for Linux's own choice for VXLAN, which flannel and others keep.
const VXLAN: [u16; 2] = [4789, 8472];
const VXLAN_GPE: u16 = 4790;
const GENEVE: u16 = 6081;
const MPLS: u16 = 6635;

/// Length of UDP's header.
const UDP: usize = 8;

// Ethernet types that GRE and Geneve have for what is no IP.
const TRANSPARENT_ETHERNET: u16 = 0x6558;
const ERSPAN_2: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;
const PPP: u16 = 0x880b;
/// Of IP, and of MPLS.
const PLAIN: [u16; 4] = [0x0800, 0x86dd, 0x8847, 0x8848];

// Flags of GRE (RFC 2784, RFC 2890, RFC 2637).
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGED: u16 = 0x0080;
const VERSION: u16 = 7;

/// Ethernet in IP (RFC 3378).
const ETHERNET_IN_IP: IpNumber = IpNumber(97);

/// The IP packet within a datagram; none if this is no tunnel. It was itself within so many others.
pub(super) fn within<'a>(datagram: &'a Datagram<'_>, depth: u8) -> Option<Result<Inner<'a>, Skip>> {
    let inner = Inner::new(&datagram.payload, datagram.length).at(depth);
    let found = match datagram.protocol {
        IpNumber::IPV4 | IpNumber::IPV6 => Ok(inner),
        IpNumber::GRE => gre(inner),
        // Behind its version.
        ETHERNET_IN_IP => inner.after(2).and_then(Inner::ethernet),
        IpNumber::MPLS_IN_IP => inner.mpls(),
        // What is in them is encrypted or compressed, or may be anything.
        IpNumber::ENCAPSULATING_SECURITY_PAYLOAD
        | IpNumber::IP_COMP
        | IpNumber::LAYER2_TUNNELING_PROTOCOL => Err(Skip::Tunnel),
        IpNumber::UDP => return udp(inner).transpose(),
        _ => return None,
    };
    Some(found.and_then(Inner::deeper))
}

/// What is within UDP, by the port that it was sent to.
fn udp(packet: Inner<'_>) -> Result<Option<Inner<'_>>, Skip> {
    let (Ok(port), Ok(inner)) = (packet.word(2), packet.after(UDP)) else { return Ok(None) };
    let Ok(first) = inner.byte(0) else { return Ok(None) };
    let found = match port {
        // A network is named (RFC 7348).
        port if VXLAN.contains(&port) && first & 0x08 != 0 => inner.after(8)?.ethernet(),
        // The next protocol is named, too (draft-ietf-nvo3-vxlan-gpe).
        VXLAN_GPE if first & 0x04 != 0 => {
            let next = inner.byte(3)?;
            let inner = inner.after(8)?;
            match next {
                1 | 2 => Ok(inner),
                3 => inner.ethernet(),
                5 => inner.mpls(),
                _ => Err(Skip::Tunnel),
            }
        }
        // Version 0, and options of so many words (RFC 8926).
        GENEVE if first >> 6 == 0 => {
            let payload = inner.word(2)?;
            typed(inner.after(8 + 4 * usize::from(first & 0x3f))?, payload)
        }
        MPLS => inner.mpls(),
        _ => return Ok(None),
    };
    found.and_then(Inner::deeper).map(Some)
}

fn gre(inner: Inner<'_>) -> Result<Inner<'_>, Skip> {
    let (flags, payload) = (inner.word(0)?, inner.word(2)?);
    let words = |present: &[u16]| 4 * present.iter().filter(|flag| flags & **flag != 0).count();
    match flags & VERSION {
        0 if flags & ROUTING == 0 => {
            let inner = inner.after(4 + words(&[CHECKSUM, KEY, SEQUENCE]))?;
            match payload {
                // Version 1 of the mirror has no header, and no sequence number either.
                ERSPAN_2 if flags & SEQUENCE == 0 => inner.ethernet(),
                ERSPAN_2 => inner.after(8)?.ethernet(),
                ERSPAN_3 => {
                    let (kind, last) = (inner.byte(10)? >> 2 & 0x1f, inner.byte(11)?);
                    let inner = inner.after(if last & 1 == 1 { 20 } else { 12 })?;
                    // Of Ethernet, and of IP.
                    match kind {
                        0 => inner.ethernet(),
                        2 => Ok(inner),
                        _ => Err(Skip::Tunnel),
                    }
                }
                _ => typed(inner, payload),
            }
        }
        // PPTP, whose packets need not bear anything but acknowledgements.
        1 if payload == PPP && flags & SEQUENCE != 0 => {
            inner.after(4 + words(&[KEY, SEQUENCE, ACKNOWLEDGED]))?.ppp().map_err(|_| Skip::Tunnel)
        }
        _ => Err(Skip::Tunnel),
    }
}

/// What an Ethernet type announces within a tunnel.
fn typed(inner: Inner<'_>, ether_type: u16) -> Result<Inner<'_>, Skip> {
    match ether_type {
        TRANSPARENT_ETHERNET => inner.ethernet(),
        _ if PLAIN.contains(&ether_type) => inner.below(ether_type),
        _ => Err(Skip::Tunnel),
    }
}
