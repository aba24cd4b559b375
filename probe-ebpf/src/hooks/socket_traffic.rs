//! `cgroup_skb`, both ways, at the root cgroup: the packets of every socket.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::{
        bpf_ktime_get_ns, bpf_loop, bpf_sk_fullsock,
        generated::{bpf_sk_storage_get, bpf_skb_load_bytes},
    },
    programs::SkBuffContext,
};
use probe_common::{
    connection::{Connection, Segment, Side, Stage},
    interface::Way,
    protocol::Protocol,
    reason::Reason,
    service::Role,
    user::mapped,
    window::{CARRY, Payload, READ, SIZE, Unreadable},
};

use crate::{
    atomic, clients, complaint, latency,
    maps::SOCKETS,
    packet,
    scratch::{self, Scratch, Task},
    services,
};

/// What a program does with the heads of messages.
#[derive(Clone, Copy)]
pub enum Heads {
    /// Reads them, by `bpf_loop`: a packet may have as many as it likes.
    Read,
    /// Passes over them.
    PassOver,
}

/// The most lines and jumps that are read in a packet: 64 KiB of pipelined requests of the shortest kind.
const STEPS: u32 = 32_768;

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
    // SAFETY: not null, as compared first.
    if sk.is_null() || unsafe { (*sk).protocol } != IPPROTO_TCP {
        return Ok(());
    }
    let tcp = packet::tcp(skb).ok_or(Reason::Unreadable)?;
    // SAFETY: storage of a full socket (kernel 5.2).
    let connection = unsafe { bpf_sk_storage_get(SOCKETS.as_ptr(), sk.cast(), ptr::null_mut(), 0) };
    let connection = connection.cast::<Connection>();
    // SAFETY: the socket's storage, which lives as long as the socket; null or valid.
    let connection = match unsafe { connection.as_mut() } {
        Some(connection) => connection,
        None => create(sk)?,
    };
    if !connection.introduced {
        if let Err(reason) = introduce(connection, skb, sk, way, tcp.destination) {
            // It goes on under the service that stands for all that found no room.
            complaint::file(ctx, reason, connection.service);
        }
        if !connection.introduced {
            // Neither a connection nor about to be one: the last words of a socket that nothing is known of.
            return Ok(());
        }
    }
    let segment = Segment {
        side: if (connection.role == Role::Server as u8) == matches!(way, Way::Receive) {
            Side::Request
        } else {
            Side::Response
        },
        sequence: tcp.sequence,
        length: tcp.length,
        fin: tcp.fin,
    };
    let mut fresh = 0;
    if matches!(connection.stage, Stage::Open | Stage::Joined) {
        let accepted = connection.accept(&segment);
        fresh = accepted.fresh;
        if accepted.due {
            match heads {
                Heads::Read => read(ctx, connection, &segment, tcp.offset)?,
                Heads::PassOver => {
                    connection.protocol = Protocol::Opaque;
                    complaint::count(Reason::KernelTooOld);
                }
            }
        }
    }
    // SAFETY: a field of the context (kernel 5.2).
    let packets = unsafe { (*skb).gso_segs }.max(1);
    count(connection.service, way, u64::from(fresh), u64::from(packets));
    Ok(())
}

/// Makes the state of a socket that has none.
#[inline(always)]
fn create<'a>(sk: *mut bpf_sock) -> Result<&'a mut Connection, Reason> {
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
fn introduce(
    connection: &mut Connection,
    skb: *mut __sk_buff,
    sk: *mut bpf_sock,
    way: Way,
    destination: u16,
) -> Result<(), Reason> {
    // SAFETY: fields of a full socket.
    let (state, local) = unsafe { ((*sk).state, (*sk).src_port as u16) };
    let remote = match way {
        Way::Transmit => destination,
        // SAFETY: as above; the field is a half word in network order.
        Way::Receive => u16::from_be(unsafe { (*sk).dst_port }),
    };
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
            connection.client = remote_address(sk);
            clients::arrive(connection)?;
        }
    }
    assigned
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

/// Adds a packet to a service.
#[inline(always)]
fn count(service: u32, way: Way, bytes: u64, packets: u64) {
    let Some(counters) = services::counters(service) else {
        return;
    };
    // SAFETY: the map's value, valid for the program's run. What is received is counted in softirqs only, which do
    // not interrupt each other; what is sent, in process context too, where a softirq may interrupt.
    unsafe {
        match way {
            Way::Receive => {
                (*counters).received.bytes += bytes;
                (*counters).received.packets += packets;
            }
            Way::Transmit => {
                atomic::add(&raw mut (*counters).sent.bytes, bytes);
                atomic::add(&raw mut (*counters).sent.packets, packets);
            }
        }
    }
}

/// The pointers that a step of the loop needs. What else it needs is in the scratch: what lies in a map is unknown to
/// the verifier, so that it looks at a step once and not once for each value that the caller can have put there.
#[repr(C)]
struct Reading {
    connection: *mut Connection,
    scratch: *mut Scratch,
    skb: *mut __sk_buff,
}

/// Payload in an skb, linear or in fragments.
struct SkbPayload {
    skb: *mut __sk_buff,
    offset: u32,
}

impl Payload for SkbPayload {
    #[inline(always)]
    fn read(&self, offset: u32, length: u32, to: &mut [u8; SIZE]) -> Result<(), Unreadable> {
        // 1..=READ it is; the verifier wants to see it.
        let length = (length.wrapping_sub(1) & (READ as u32 - 1)) + 1;
        // SAFETY: `READ` bytes fit behind `CARRY` (kernel 5.10 for cgroup_skb).
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.skb.cast(),
                self.offset + offset,
                to.as_mut_ptr().add(CARRY).cast::<c_void>(),
                length,
            )
        };
        if failed == 0 { Ok(()) } else { Err(Unreadable) }
    }
}

/// Reads what begins or ends in a packet.
#[inline(always)]
fn read(
    ctx: &SkBuffContext,
    connection: &mut Connection,
    segment: &Segment,
    offset: u32,
) -> Result<(), Reason> {
    let service = connection.service;
    let scratch = scratch::take().ok_or(Reason::NoBuffer)?;
    // SAFETY: a slot that is this run's own until it is given back; a helper without arguments.
    unsafe {
        (*scratch).task = Task {
            now: bpf_ktime_get_ns(),
            offset,
            sequence: segment.sequence,
            length: segment.length,
            fin: u32::from(segment.fin),
            escaped: 0,
            padding: 0,
        };
    }
    let mut reading = Reading { connection, scratch, skb: ctx.skb.skb };
    let step = match segment.side {
        Side::Request => step_request,
        Side::Response => step_response,
    };
    // SAFETY: a function of the signature that the helper wants, and a context that outlives the call.
    let steps = unsafe { bpf_loop(STEPS, step as *mut c_void, (&raw mut reading).cast(), 0) };
    // SAFETY: as above.
    let escaped = unsafe { (*scratch).task.escaped };
    scratch::give_back(scratch);
    if escaped != 0 {
        // It has been counted where it happened.
        complaint::say(ctx, escaped - 1, service);
    }
    if steps >= i64::from(STEPS) { Err(Reason::PacketTooDense) } else { Ok(()) }
}

/// A step of the loop over what a client said: 0 to go on, 1 to stop. A function for each side: with the side as a
/// variable, the verifier would follow every combination of what it can be wherever it is looked at.
extern "C" fn step_request(_index: u64, context: *mut c_void) -> i64 {
    step(context, Side::Request)
}

/// A step of the loop over what a server said.
extern "C" fn step_response(_index: u64, context: *mut c_void) -> i64 {
    step(context, Side::Response)
}

#[inline(always)]
fn step(context: *mut c_void, side: Side) -> i64 {
    // SAFETY: the context is the caller's `Reading`; its pointers are valid for the program's run.
    let (reading, connection, scratch) = unsafe {
        let reading = &*context.cast::<Reading>();
        (reading, &mut *reading.connection, &mut *reading.scratch)
    };
    let task = &scratch.task;
    let segment = Segment { side, sequence: task.sequence, length: task.length, fin: task.fin != 0 };
    let now = task.now;
    let payload = SkbPayload { skb: reading.skb, offset: task.offset };
    let step = connection.step(&segment, now, &mut scratch.window, &payload);
    let mut escaped = step.unmeasured;
    if let Some(exchange) = &step.exchange
        && let Err(reason) = latency::record(connection.service, exchange)
    {
        escaped = Some(reason);
    }
    if let Some(reason) = escaped {
        complaint::count(reason);
        scratch.task.escaped = reason as u32 + 1;
    }
    i64::from(!step.more)
}
