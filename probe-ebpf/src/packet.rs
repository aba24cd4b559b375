//! Where TCP and UDP are in a packet, read straight from its linear part: headers always lie there.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};
use probe_common::{
    connection::validity::flags::{ACK, FIN, RST, SYN},
    user::mapped,
};

/// The TCP header of a packet, and its payload.
pub struct Tcp {
    /// Offset of the header in the packet.
    pub header: u32,
    /// Sequence number of the first byte of payload.
    pub sequence: u32,
    /// Offset of the payload in the packet.
    pub offset: u32,
    /// Bytes of payload. What a reset carries is a remark, and no part of the stream (RFC 9293, section 3.5.3).
    pub length: u32,
    /// Bytes of the whole packet, from its IP header on.
    pub total: u32,
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// The window that it offers, before it is scaled.
    pub window: u16,
    /// Its flags: see [`probe_common::connection::validity::flags`].
    pub flags: u8,
    /// What it acknowledges, as its header says, whether it does or not.
    pub acknowledgement: u32,
    /// What it acknowledges, if it does.
    pub acknowledged: Option<u32>,
    /// Whether it asks for a connection, or grants one.
    pub syn: bool,
    /// Whether the direction ends here.
    pub fin: bool,
    /// Whether the connection ends here, at once.
    pub rst: bool,
}

/// The UDP header of a packet, and its payload.
pub struct Udp {
    /// Offset of the payload in the packet.
    pub offset: u32,
    /// Bytes of payload.
    pub length: u32,
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

// Extension headers of IPv6 (IANA, Assigned Internet Protocol Numbers).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// Those that are passed over (RFC 8200, section 4), a bit for each.
const PASSED_OVER: u64 = 1 << HOP_BY_HOP | 1 << ROUTING | 1 << FRAGMENT | 1 << DESTINATION;

/// How many of them: more is not IPv6 as anyone sends it.
const EXTENSIONS: usize = 4;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Finds the TCP header of a packet whose IP header is at `network`: 0 in the packets of cgroup programs.
#[inline(always)]
pub fn tcp(skb: *mut __sk_buff, network: usize) -> Option<Tcp> {
    // SAFETY: fields of the context, which the verifier knows.
    let (data, end, total) = unsafe { ((*skb).data as usize, (*skb).data_end as usize, (*skb).len) };
    let header = network + transport(data + network, end, TCP)?;
    let at = data + header;
    if at + 20 > end {
        return None;
    }
    // SAFETY: within the packet, as compared above.
    let (ports, sequence, acknowledged, offset_flags) = unsafe {
        (
            (at as *const [u8; 4]).read_unaligned(),
            ((at + 4) as *const [u8; 4]).read_unaligned(),
            ((at + 8) as *const [u8; 4]).read_unaligned(),
            ((at + 12) as *const [u8; 4]).read_unaligned(),
        )
    };
    let offset = header as u32 + u32::from(offset_flags[0] >> 4) * 4;
    let flags = offset_flags[1];
    // A SYN takes a sequence number of its own: payload with it (TCP Fast Open) begins one further.
    let sequence = u32::from_be_bytes(sequence).wrapping_add(u32::from(flags & SYN != 0));
    let length = if flags & RST == 0 { total.saturating_sub(offset) } else { 0 };
    Some(Tcp {
        header: header as u32,
        sequence,
        offset,
        length,
        total: total.saturating_sub(network as u32),
        source: u16::from_be_bytes([ports[0], ports[1]]),
        destination: u16::from_be_bytes([ports[2], ports[3]]),
        window: u16::from_be_bytes([offset_flags[2], offset_flags[3]]),
        flags,
        acknowledgement: u32::from_be_bytes(acknowledged),
        acknowledged: (flags & ACK != 0).then(|| u32::from_be_bytes(acknowledged)),
        syn: flags & SYN != 0,
        fin: flags & FIN != 0,
        rst: flags & RST != 0,
    })
}

/// The scale of windows that a SYN of this machine tells (RFC 7323, section 2.2), its TCP header between two offsets. Linux
/// writes it behind the size of segments, and behind a timestamp or the leave to acknowledge selectively; elsewhere it is
/// not looked for.
#[inline(always)]
pub fn window_scale(skb: *mut __sk_buff, header: u32, behind: u32) -> Option<u8> {
    // No operation, and the option's kind and length.
    const START: [u8; 3] = [1, 3, 3];
    for place in [24, 28, 36] {
        let (at, mut option) = (header + place, [0_u8; 4]);
        if at + 4 > behind {
            return None;
        }
        // SAFETY: as many bytes as there are (kernel 5.10 for cgroup_skb).
        let failed = unsafe { bpf_skb_load_bytes(skb.cast(), at, option.as_mut_ptr().cast(), 4) };
        if failed == 0 && [option[0], option[1], option[2]] == START {
            return Some(option[3]);
        }
    }
    None
}

/// Finds the UDP header of a cgroup program's packet.
#[inline(always)]
pub fn udp(skb: *mut __sk_buff) -> Option<Udp> {
    // SAFETY: fields of the context, which the verifier knows.
    let (data, end, total) = unsafe { ((*skb).data as usize, (*skb).data_end as usize, (*skb).len) };
    let header = transport(data, end, UDP)?;
    let at = data + header;
    if at + 8 > end {
        return None;
    }
    // SAFETY: within the packet, as compared above.
    let ports = unsafe { (at as *const [u8; 4]).read_unaligned() };
    let offset = header as u32 + 8;
    Some(Udp {
        offset,
        // Not what the header says: of a buffer that stands for several datagrams it may be the length of one.
        length: total.saturating_sub(offset),
        source: u16::from_be_bytes([ports[0], ports[1]]),
        destination: u16::from_be_bytes([ports[2], ports[3]]),
    })
}

/// The address that a cgroup program's packet comes from; IPv4 as IPv4-mapped IPv6.
#[inline(always)]
pub fn source(skb: *mut __sk_buff) -> Option<[u8; 16]> {
    // SAFETY: fields of the context, which the verifier knows.
    let (data, end) = unsafe { ((*skb).data as usize, (*skb).data_end as usize) };
    if data + 20 > end {
        return None;
    }
    // SAFETY: within the packet, as compared above, and below.
    unsafe {
        if *(data as *const u8) >> 4 == 4 {
            return Some(mapped(((data + 12) as *const [u8; 4]).read_unaligned()));
        }
        if data + 40 > end {
            return None;
        }
        Some(((data + 8) as *const [u8; 16]).read_unaligned())
    }
}

/// Offset of the header of TCP or UDP behind the IP headers.
#[inline(always)]
fn transport(data: usize, end: usize, protocol: u8) -> Option<usize> {
    if data + 20 > end {
        return None;
    }
    // SAFETY: within the packet, as compared above.
    let first = unsafe { *(data as *const u8) };
    if first >> 4 == 4 {
        // A socket's packets are no fragments: they are put together before, and taken apart behind it.
        return Some(usize::from(first & 0xf) * 4);
    }
    if data + 40 > end {
        return None;
    }
    // SAFETY: as above.
    let next = unsafe { *((data + 6) as *const u8) };
    let (number, offset) = behind_extensions(data, end, 40, next);
    (number == protocol).then_some(offset)
}

/// What comes behind the extension headers of IPv6 from an offset on, and where it begins. Every sender has some: Linux puts
/// a hop-by-hop header before each buffer of more than 64 KiB. Where they are cut off, or too many, it is one of them.
#[inline(always)]
pub fn behind_extensions(data: usize, end: usize, start: usize, first: u8) -> (u8, usize) {
    let (mut number, mut offset) = (first, start);
    for _ in 0..EXTENSIONS {
        if number > DESTINATION || PASSED_OVER >> number & 1 == 0 {
            break;
        }
        let at = data + (offset & FURTHEST);
        if at + 2 > end {
            break;
        }
        // SAFETY: within the packet, as compared above, which no program changes while this one runs.
        let [following, words] = unsafe { (at as *const [u8; 2]).read_unaligned() };
        number = following;
        // A fragment's has no length; zero stands there, which is right.
        offset += (usize::from(words) + 1) * 8;
    }
    (number, offset)
}

/// As far into a packet as any of its headers can lie. The verifier follows a packet pointer only over a bounded offset, and
/// this bound cuts none off: an extension header has 2,048 bytes at most.
pub const FURTHEST: usize = 0x3fff;
