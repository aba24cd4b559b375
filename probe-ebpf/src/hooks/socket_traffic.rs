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
    reason::Reason,
    service::Role,
    window::{CARRY, Payload, READ, SIZE, Unreadable},
};

use crate::{
    atomic, complaint, latency,
    maps::SOCKETS,
    packet,
    scratch::{self, Scratch, Task},
    services,
};

/// How a program reads the heads in a packet.
#[derive(Clone, Copy)]
pub enum Loop {
    /// By `bpf_loop`: a packet as long as may be.
    Helper,
}

/// The most lines and jumps that are read in a packet: 64 KiB of pipelined requests of the shortest kind.
const STEPS: u32 = 32_768;

const IPPROTO_TCP: u32 = 6;

// States of a socket: `include/net/tcp_states.h`.
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_TIME_WAIT: u32 = 6;
const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;

/// Counts a packet to its service, and reads what begins or ends in it.
#[inline(always)]
pub fn observe(ctx: &SkBuffContext, way: Way, by: Loop) {
    if let Err(reason) = try_observe(ctx, way, by) {
        complaint::file(ctx, reason, 0);
    }
}

#[inline(always)]
fn try_observe(ctx: &SkBuffContext, way: Way, _by: Loop) -> Result<(), Reason> {
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
        introduce(connection, skb, sk, way, tcp.destination);
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
            read(skb, connection, &segment, tcp.offset)?;
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
#[inline(never)]
fn introduce(
    connection: &mut Connection,
    skb: *mut __sk_buff,
    sk: *mut bpf_sock,
    way: Way,
    destination: u16,
) {
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
            TCP_SYN_RECV | TCP_TIME_WAIT | TCP_CLOSE => return,
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
    services::assign(connection, sk, if server { local } else { remote });
    connection.introduced = true;
    if matches!(connection.stage, Stage::Joined)
        && let Some(counters) = services::counters(connection.service)
    {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe { atomic::add(&raw mut (*counters).joined, 1) };
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
    skb: *mut __sk_buff,
    connection: &mut Connection,
    segment: &Segment,
    offset: u32,
) -> Result<(), Reason> {
    let scratch = scratch::take().ok_or(Reason::NoBuffer)?;
    // SAFETY: a slot that is this run's own until it is given back; a helper without arguments.
    unsafe {
        (*scratch).task = Task {
            now: bpf_ktime_get_ns(),
            offset,
            sequence: segment.sequence,
            length: segment.length,
            fin: u32::from(segment.fin),
        };
    }
    let mut reading = Reading {
        connection,
        scratch,
        skb,
    };
    let step = match segment.side {
        Side::Request => step_request,
        Side::Response => step_response,
    };
    // SAFETY: a function of the signature that the helper wants, and a context that outlives the call.
    let steps = unsafe { bpf_loop(STEPS, step as *mut c_void, (&raw mut reading).cast(), 0) };
    scratch::give_back(scratch);
    if steps >= i64::from(STEPS) {
        Err(Reason::PacketTooDense)
    } else {
        Ok(())
    }
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
    let segment = Segment {
        side,
        sequence: task.sequence,
        length: task.length,
        fin: task.fin != 0,
    };
    let now = task.now;
    let payload = SkbPayload {
        skb: reading.skb,
        offset: task.offset,
    };
    let step = connection.step(&segment, now, &mut scratch.window, &payload);
    if let Some(exchange) = &step.exchange {
        latency::record(connection.service, exchange);
    }
    if let Some(reason) = step.unmeasured {
        complaint::count(reason);
    }
    i64::from(!step.more)
}
