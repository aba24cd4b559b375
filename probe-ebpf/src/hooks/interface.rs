//! TC and XDP: the frames of an interface, forwarded ones included.

use aya_ebpf::{
    bindings::__sk_buff,
    programs::{TcContext, XdpContext},
};
use probe_common::interface::{Family, InterfaceCounters, Transport, Way};

use crate::{
    maps::INTERFACES,
    packet::{FURTHEST, behind_extensions},
};

const ETHERNET_HEADER: usize = 14;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
/// Bytes of a VLAN's tag.
const TAG: u64 = 4;
/// A customer's tag within a provider's.
const TAGS: usize = 2;

/// What a frame carries.
struct Kind {
    family: Family,
    transport: Transport,
    /// Length of all headers, to the end of that of TCP; 0 if it is not TCP.
    headers: usize,
}

/// Counts a packet that passes the interface's queue.
#[inline(always)]
pub fn observe_skb(ctx: &TcContext, way: Way) {
    let skb: *mut __sk_buff = ctx.skb.skb;
    // SAFETY: fields of the context.
    let (interface, length, segments, ethertype, tagged) =
        unsafe { ((*skb).ifindex, (*skb).len, (*skb).gso_segs, (*skb).protocol as u16, (*skb).vlan_present) };
    let Some(counters) = INTERFACES.get_ptr_mut(interface) else {
        return;
    };
    // SAFETY: the map's value, valid for the program's run, of this CPU.
    let counters = unsafe { &mut *counters };
    let network = (counters.link_header & 31) as usize;
    let kind = classify(ctx.data(), ctx.data_end(), network, u16::from_be(ethertype));
    // A buffer of segmentation offload leaves the machine as many frames, each with headers of its own.
    let more = if segments > 1 { u64::from(segments - 1) } else { 0 };
    let mut bytes = u64::from(length) + more * kind.headers as u64;
    if tagged != 0 {
        // The outermost tag lies beside the packet, always where it is received: each frame has it on the wire.
        bytes += (1 + more) * TAG;
    }
    count(counters, way, &kind, bytes, 1 + more);
}

/// Counts a frame as the driver hands it over.
#[inline(always)]
pub fn observe_frame(ctx: &XdpContext) {
    // SAFETY: a field of the context.
    let interface = unsafe { (*ctx.ctx).ingress_ifindex };
    let Some(counters) = INTERFACES.get_ptr_mut(interface) else {
        return;
    };
    // SAFETY: the map's value, valid for the program's run, of this CPU.
    let counters = unsafe { &mut *counters };
    let (data, end) = (ctx.data(), ctx.data_end());
    let ethertype = header(data, end, ETHERNET_HEADER - 2).map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let kind = classify(data, end, ETHERNET_HEADER, ethertype);
    count(counters, Way::Receive, &kind, (end - data) as u64, 1);
}

/// Plain additions: packets of one interface and direction are counted in softirqs, or with them kept off.
#[inline(always)]
fn count(counters: &mut InterfaceCounters, way: Way, kind: &Kind, bytes: u64, packets: u64) {
    let volume = &mut counters.volume[way as usize][kind.family as usize][kind.transport as usize];
    volume.bytes += bytes;
    volume.packets += packets;
}

/// Finds out what a frame carries, its network header at `network`.
#[inline(always)]
fn classify(data: usize, end: usize, network: usize, ethertype: u16) -> Kind {
    let (mut ethertype, mut network) = (ethertype, network);
    for _ in 0..TAGS {
        if ethertype != ETH_P_8021Q && ethertype != ETH_P_8021AD {
            break;
        }
        let Some(&[_, _, high, low]) = header::<4>(data, end, network) else {
            break;
        };
        ethertype = u16::from_be_bytes([high, low]);
        network += 4;
    }
    let other = Kind { family: Family::Other, transport: Transport::Other, headers: 0 };
    let (family, number, length) = match ethertype {
        ETH_P_IP => {
            let Some(ip) = header::<20>(data, end, network) else {
                return other;
            };
            (Family::Ipv4, ip[9], usize::from(ip[0] & 0xf) * 4)
        }
        ETH_P_IPV6 => {
            let Some(ip) = header::<40>(data, end, network) else {
                return other;
            };
            let (number, start) = behind_extensions(data, end, network + 40, ip[6]);
            (Family::Ipv6, number, start - network)
        }
        _ => return other,
    };
    let transport = Transport::of_number(number);
    let mut headers = 0;
    if matches!(transport, Transport::Tcp) {
        let start = network + length;
        if let Some(tcp) = header::<20>(data, end, start) {
            headers = start + usize::from(tcp[12] >> 4) * 4;
        }
    }
    Kind { family, transport, headers }
}

/// The bytes at an offset of a frame.
#[inline(always)]
fn header<'a, const N: usize>(data: usize, end: usize, offset: usize) -> Option<&'a [u8; N]> {
    let at = data + (offset & FURTHEST);
    if at + N > end {
        return None;
    }
    // SAFETY: within the packet, as compared above, which no program changes while this one runs.
    Some(unsafe { &*(at as *const [u8; N]) })
}
