//! `cgroup_skb`, both ways, at the root cgroup: the packets of every socket.

use core::ptr;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::{
        bpf_sk_fullsock,
        generated::{bpf_jiffies64, bpf_sk_storage_get, bpf_tcp_sock},
    },
    programs::SkBuffContext,
};
use probe_common::{
    connection::{
        Connection, Owner, Stage,
        validity::{Numbers, Received},
    },
    interface::Way,
    reason::Reason,
    service::Role,
    user::mapped,
};

use super::{
    datagram::{self, IPPROTO_UDP},
    early,
    segment::{self, Heads},
};
use crate::{
    atomic, clients, complaint, latency,
    maps::SOCKETS,
    packet::{self, Tcp},
    peers, proxies, services,
    volume::{self, Volume},
};

const AF_INET: u32 = 2;
const IPPROTO_TCP: u32 = 6;

// States of a socket: `include/net/tcp_states.h`.
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_TIME_WAIT: u32 = 6;
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;

/// Counts a packet to its service, and reads what begins or ends in it.
#[inline(always)]
pub fn observe(ctx: &SkBuffContext, way: Way, heads: Heads) {
    if let Err(reason) = try_observe(ctx, way, heads) {
        complaint::file(ctx, reason, 0);
    }
}

#[inline(always)]
fn try_observe(ctx: &SkBuffContext, way: Way, heads: Heads) -> Result<(), Reason> {
    let skb = ctx.skb.skb;
    // SAFETY: a field of the context.
    let sk = unsafe { (*skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return Ok(());
    }
    // SAFETY: not null (kernel 5.1).
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return Ok(());
    }
    // SAFETY: not null.
    let protocol = unsafe { (*sk).protocol };
    if protocol != IPPROTO_TCP {
        return if protocol == IPPROTO_UDP { datagram::observe(skb, sk, way) } else { Ok(()) };
    }
    let tcp = packet::tcp(skb, 0).ok_or(Reason::Unreadable)?;
    // SAFETY: storage of a full socket (kernel 5.2).
    let connection = unsafe { bpf_sk_storage_get(SOCKETS.as_ptr(), sk.cast(), ptr::null_mut(), 0) };
    let connection = connection.cast::<Connection>();
    // SAFETY: the socket's storage, which lives as long as the socket; null or valid.
    let connection = match unsafe { connection.as_mut() } {
        Some(connection) => connection,
        None => create(sk)?,
    };
    // First of all, while little else is on the stack.
    if matches!(way, Way::Transmit) {
        note_window(connection, skb, &tcp);
    } else if is_out_of_window(connection, sk, &tcp) {
        refuse(skb, connection.service, tcp.total, tcp.offset);
        return Ok(());
    }
    if !connection.introduced || has_lost_its_service(connection) {
        let remote = match way {
            Way::Transmit => tcp.destination,
            Way::Receive => remote_port(sk),
        };
        if let Err(reason) = introduce(connection, skb, sk, remote) {
            // It goes on under the service that stands for all that found no room.
            complaint::file(ctx, reason, connection.service);
        }
        if !connection.introduced {
            // Neither a connection nor about to be one: the last words of a socket that nothing is known of.
            return Ok(());
        }
    }
    if matches!(connection.stage, Stage::Listening) {
        segment::count_packet(skb, connection.service, &tcp, way);
        let early = matches!(way, Way::Receive) && tcp.length > 0;
        return if early { early::read(ctx, skb, connection.service, &tcp, heads) } else { Ok(()) };
    }
    let followed = segment::follow(ctx, skb, connection, &tcp, way, heads);
    time_round_trip(connection, sk);
    followed
}

/// Whether a socket that is no open connection has to find its service anew. One that is open holds its service: see
/// [`probe_common::service::IndexState`].
#[inline(always)]
fn has_lost_its_service(connection: &Connection) -> bool {
    !matches!(connection.stage, Stage::Open | Stage::Joined)
        && !services::is_current(connection.service, connection.generation)
}

/// Notes up to where the other end may send, as this end tells it.
#[inline(always)]
fn note_window(connection: &mut Connection, skb: *mut __sk_buff, tcp: &Tcp) {
    // Of a SYN, too, whose window is noted with the connection: see `connection_life`.
    connection.note_window(tcp.acknowledgement, tcp.window);
    if tcp.syn {
        note_scale(connection, skb, tcp.header, tcp.offset);
    }
}

/// A function of its own: the caller's stack has no room for it.
#[inline(never)]
fn note_scale(connection: &mut Connection, skb: *mut __sk_buff, header: u32, end: u32) {
    connection.note_scale(packet::window_scale(skb, header, end));
}

/// Whether a received segment is of a connection that will not take it.
#[inline(always)]
fn is_out_of_window(connection: &Connection, sk: *mut bpf_sock, tcp: &Tcp) -> bool {
    let received = Received {
        side: segment::side(connection, Way::Receive),
        flags: tcp.flags,
        sequence: tcp.sequence,
        length: tcp.length,
        acknowledged: tcp.acknowledgement,
    };
    let rest = u64::from(received.length) << 8 | u64::from(received.flags);
    connection.doubts(&received) && is_refused(connection, sk, received.sequence, received.acknowledged, rest)
}

/// The same of one that is doubted. A function of its own, as above; the last value is its length and its flags.
#[inline(never)]
fn is_refused(
    connection: &Connection,
    sk: *mut bpf_sock,
    sequence: u32,
    acknowledged: u32,
    rest: u64,
) -> bool {
    if !matches!(connection.stage, Stage::Open | Stage::Joined) {
        // It is for TCP to open a connection; and a listener's packets are many.
        return false;
    }
    // SAFETY: a full socket (kernel 5.1).
    let numbers = unsafe { bpf_tcp_sock(sk) };
    if numbers.is_null() {
        return false;
    }
    // SAFETY: not null.
    let numbers = unsafe {
        Numbers {
            received: (*numbers).rcv_nxt,
            sent: (*numbers).snd_nxt,
            acknowledged: (*numbers).snd_una,
            acknowledged_bytes: (*numbers).bytes_acked,
        }
    };
    let side = segment::side(connection, Way::Receive);
    let received = Received { side, flags: rest as u8, sequence, length: (rest >> 8) as u32, acknowledged };
    !connection.takes(&received, &numbers)
}

/// Counts the packet of a segment that is not taken, and tells of it.
#[inline(never)]
fn refuse(skb: *mut __sk_buff, service: u32, total: u32, headers: u32) {
    volume::count(service, Way::Receive, &Volume::of(skb, total, headers));
    complaint::file(&SkBuffContext::new(skb), Reason::OutOfWindow, service);
}

/// Ticks of the kernel's clock between two looks at a connection's round-trip time: a quarter of a second where it has
/// 1,000 a second, a second where it has 250.
const TICKS: u16 = 256;

/// Counts the round-trip time of a connection, now and then while it has traffic.
#[inline(always)]
fn time_round_trip(connection: &mut Connection, sk: *mut bpf_sock) {
    // SAFETY: a helper without arguments (kernel 5.6), which the verifier makes a load of memory.
    let ticks = unsafe { bpf_jiffies64() } as u16;
    if ticks.wrapping_sub(connection.timed) < TICKS
        || !matches!(connection.stage, Stage::Open | Stage::Joined)
    {
        return;
    }
    connection.timed = ticks;
    // SAFETY: a full socket (kernel 5.1).
    let tcp = unsafe { bpf_tcp_sock(sk) };
    if tcp.is_null() {
        return;
    }
    // SAFETY: not null.
    let smoothed = unsafe { (*tcp).srtt_us };
    if smoothed != 0 {
        latency::record_round_trip(connection.service, smoothed);
    }
}

/// Makes the state of a socket that has none.
#[inline(always)]
pub fn create<'a>(sk: *mut bpf_sock) -> Result<&'a mut Connection, Reason> {
    // SAFETY: storage of a full socket, zeroed.
    let connection = unsafe {
        bpf_sk_storage_get(
            SOCKETS.as_ptr(),
            sk.cast(),
            ptr::null_mut(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
    };
    // SAFETY: null or valid; all zero is a `Connection`.
    unsafe { connection.cast::<Connection>().as_mut() }.ok_or(Reason::SocketState)
}

/// The first packet of a socket that the probe has to do with: which service, and where in its life.
#[inline(always)]
pub fn introduce(
    connection: &mut Connection,
    skb: *mut __sk_buff,
    sk: *mut bpf_sock,
    remote: u16,
) -> Result<(), Reason> {
    // SAFETY: fields of a full socket.
    let (state, local) = unsafe { ((*sk).state, (*sk).src_port as u16) };
    if matches!(connection.stage, Stage::New) {
        match state {
            TCP_LISTEN => connection.stage = Stage::Listening,
            TCP_SYN_SENT => {
                connection.stage = Stage::Connecting;
                connection.role = Role::Client as u8;
            }
            TCP_SYN_RECV | TCP_TIME_WAIT | TCP_CLOSE => return Ok(()),
            _ => {
                connection.stage = Stage::Joined;
                connection.role = Role::Client as u8;
                if super::listener::listens(skb, sk) {
                    connection.role = Role::Server as u8;
                    // Who listens gives a server its name, and not who happens to serve this connection.
                    connection.owner = Owner::default();
                }
            }
        }
    }
    let server = connection.role == Role::Server as u8;
    let assigned = services::assign(connection, sk, if server { local } else { remote });
    if matches!(connection.stage, Stage::Joined)
        && let Some(counters) = services::counters(connection.service)
    {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe { atomic::add(&raw mut (*counters).joined, 1) };
        if server {
            enter_client(connection, sk);
        } else {
            note_server(connection, sk);
        }
    }
    assigned
}

/// Enters the client of a connection that is older than the probe.
#[inline(always)]
fn enter_client(connection: &mut Connection, sk: *mut bpf_sock) {
    connection.client = remote_address(sk);
    connection.counting = proxies::counting_of(&connection.client);
    if !proxies::speak_on(connection) {
        clients::arrive(connection);
    // SAFETY: a full socket.
    } else if let Err(reason) = unsafe { proxies::follow(sk.cast(), None) } {
        complaint::count(reason);
    }
}

/// Notes the other end of a client's connection that is older than the probe, where peers are counted. A function of its own,
/// which keeps its branches from the caller.
#[inline(never)]
fn note_server(connection: &mut Connection, sk: *mut bpf_sock) {
    if peers::are_counted() {
        connection.client = remote_address(sk);
    }
}

/// The port at the other end of a socket.
#[inline(always)]
pub fn remote_port(sk: *mut bpf_sock) -> u16 {
    // SAFETY: a field of a full socket: a half word in network order.
    u16::from_be(unsafe { (*sk).dst_port })
}

/// The address at the other end of a socket.
#[inline(always)]
fn remote_address(sk: *mut bpf_sock) -> [u8; 16] {
    // SAFETY: fields of a full socket, in network order. One by one and volatile: the verifier allows no pointer into a
    // socket but the socket itself.
    unsafe {
        if (*sk).family == AF_INET {
            return mapped((*sk).dst_ip4.to_ne_bytes());
        }
        let words = [
            (&raw const (*sk).dst_ip6[0]).read_volatile(),
            (&raw const (*sk).dst_ip6[1]).read_volatile(),
            (&raw const (*sk).dst_ip6[2]).read_volatile(),
            (&raw const (*sk).dst_ip6[3]).read_volatile(),
        ];
        core::mem::transmute::<[u32; 4], [u8; 16]>(words)
    }
}
