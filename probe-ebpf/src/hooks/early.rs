//! Data that comes before its connection: with the SYN (TCP Fast Open, RFC 7413), or with the segment that completes the
//! handshake (where the bare acknowledgement was lost, or the listener defers accepting: `TCP_DEFER_ACCEPT`).
//!
//! Such a segment passes the hook of the *listener*, and never that of the connection, which the kernel makes right
//! afterwards, in the same softirq. So it is read into a state of this CPU, and the connection starts with that.

use aya_ebpf::{EbpfContext, bindings::__sk_buff, helpers::bpf_ktime_get_ns};
use probe_common::{
    connection::{Connection, Segment, Side, Stage},
    flow::{Flow, Part},
    pending::Pending,
    protocol::Protocol,
    proxied::{Counting, Proxied},
    reason::Reason,
    service::Role,
};

use super::segment::{self, At, Heads};
use crate::{
    ages, atomic, complaint,
    maps::EARLY,
    packet::{self, Tcp},
    proxies::{self, Kept},
    services,
};

/// The state of a connection that is about to be.
#[repr(C)]
pub struct Early {
    /// What its first segment came to.
    connection: Connection,
    /// What its peer says of clients, if that is a trusted proxy.
    pub proxied: Proxied,
    /// Where that began.
    sequence: u32,
    /// Bytes of payload in it.
    fresh: u32,
    /// Requests that began in it.
    began: u32,
    /// One more than the reason for which something in it escaped; 0 if nothing did.
    escaped: u32,
    /// The client's port.
    port: u16,
    /// 1 until a connection has started with it.
    valid: u16,
}

/// Reads a segment with data that has come to a listener, whose service the connection will have.
#[inline(always)]
pub fn read(
    ctx: &impl EbpfContext,
    skb: *mut __sk_buff,
    service: u32,
    tcp: &Tcp,
    heads: Heads,
) -> Result<(), Reason> {
    let Some(early) = EARLY.get_ptr_mut(0) else { return Ok(()) };
    // SAFETY: the map's value, valid for the program's run, of this CPU; softirqs do not interrupt each other.
    let early = unsafe { &mut *early };
    early.connection.request = Flow::default();
    early.connection.response.part = Part::Start;
    early.connection.pending = Pending::default();
    early.connection.protocol = Protocol::Unknown;
    early.connection.service = service;
    early.connection.role = Role::Server as u8;
    early.connection.stage = Stage::Open;
    early.connection.forget_ends();
    early.connection.counting = Counting::Connected;
    if proxies::are_configured()
        && let Some(source) = packet::source(skb)
    {
        early.connection.client = source;
        early.connection.counting = proxies::counting_of(&source);
        // SAFETY: the map's value, as above.
        unsafe { proxies::clear(&raw mut early.proxied) };
    }
    early.connection.request.begin_at(tcp.sequence);
    early.sequence = tcp.sequence;
    early.port = tcp.source;
    (early.began, early.escaped) = (0, 0);
    early.valid = 1;
    let segment = Segment {
        side: Side::Request,
        sequence: tcp.sequence,
        length: tcp.length,
        acknowledged: None,
        fin: tcp.fin,
    };
    let accepted = early.connection.accept(&segment);
    early.fresh = accepted.fresh;
    if accepted.due {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        let at = At { offset: tcp.offset, now };
        let read = segment::read(ctx, skb, &mut early.connection, &segment, at, heads, Kept::Early)?;
        (early.began, early.escaped) = (read.began, read.escaped);
    }
    Ok(())
}

/// Starts a connection with what came before it, if something did; `received` is the first sequence number that the
/// connection expects. Returns what was said of clients.
#[inline(always)]
pub fn start(
    connection: &mut Connection,
    received: u32,
    port: u16,
    heads: Heads,
) -> Option<&'static Proxied> {
    let early = EARLY.get_ptr_mut(0)?;
    // SAFETY: as in `read`.
    let early = unsafe { &mut *early };
    if early.valid == 0 || early.sequence != received || early.port != port {
        return None;
    }
    early.valid = 0;
    connection.request = early.connection.request;
    connection.response.part = early.connection.response.part;
    connection.pending = early.connection.pending;
    connection.protocol = early.connection.protocol;
    connection.last_request = early.connection.last_request;
    connection.ended = early.connection.ended;
    if let Some(counters) = services::counters(connection.service) {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe { atomic::add(&raw mut (*counters).received.bytes, u64::from(early.fresh)) };
    }
    segment::begin(connection.service, connection.protocol.measured(), early.began);
    // Where heads are not read, there is no request, and no kernel that has the instructions that ages take.
    if matches!(heads, Heads::Read) && early.began != 0 {
        // All of them began with the one segment.
        ages::begin(connection.service, connection.last_request, early.began);
    }
    if early.escaped != 0 {
        // Only now: what nobody makes a connection of, such as data for one that is long gone, is none that escaped.
        complaint::count_number(early.escaped - 1);
    }
    if !proxies::are_configured() {
        return None;
    }
    connection.client = early.connection.client;
    connection.counting = early.connection.counting;
    Some(&early.proxied)
}
