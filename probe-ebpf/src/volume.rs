//! What a packet of a socket adds to the counters of its service.

use aya_ebpf::bindings::__sk_buff;
use probe_common::interface::Way;

use crate::{atomic, services};

/// A packet, or a buffer of segmentation offload that stands for several.
pub struct Volume {
    /// Bytes of payload that are new.
    pub fresh: u64,
    /// Packets on the wire.
    pub packets: u64,
    /// Their bytes, from the IP headers on.
    pub wire: u64,
    /// Whether they bear nothing but what was sent before.
    pub again: bool,
    /// Whether they are the first to end their connection at once.
    pub reset: bool,
}

impl Volume {
    /// Of a buffer of `total` bytes from its IP header on, `headers` of which lie before the payload. None of that is new so
    /// far.
    #[inline(always)]
    pub fn of(skb: *mut __sk_buff, total: u32, headers: u32) -> Self {
        // SAFETY: a field of the context (kernel 5.2).
        let segments = unsafe { (*skb).gso_segs };
        // One buffer stands for as many packets, each with headers of its own.
        let more = if segments > 1 { u64::from(segments - 1) } else { 0 };
        Self {
            fresh: 0,
            packets: 1 + more,
            wire: u64::from(total) + more * u64::from(headers),
            again: false,
            reset: false,
        }
    }
}

/// Adds a packet to a service.
#[inline(always)]
pub fn count(service: u32, way: Way, volume: &Volume) {
    let Some(counters) = services::counters(service) else {
        return;
    };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes. What is received is counted in softirqs
    // only, which do not interrupt each other; what is sent, in process context too, where a softirq may interrupt.
    unsafe {
        match way {
            Way::Receive => {
                (*counters).received.bytes += volume.fresh;
                (*counters).received.packets += volume.packets;
                (*counters).received_wire += volume.wire;
            }
            Way::Transmit => {
                atomic::add(&raw mut (*counters).sent.bytes, volume.fresh);
                atomic::add(&raw mut (*counters).sent.packets, volume.packets);
                atomic::add(&raw mut (*counters).sent_wire, volume.wire);
                if volume.again {
                    atomic::add(&raw mut (*counters).retransmitted, volume.packets);
                }
            }
        }
        if volume.reset {
            atomic::add(&raw mut (*counters).reset, 1);
        }
    }
}
