//! `sock_ops` at the root cgroup: connections established, and closed where the tracepoint for that cannot be had (as before
//! kernel 5.11).

use core::ptr;

use aya_ebpf::{
    bindings::{
        BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock_ops,
    },
    helpers::generated::{bpf_jiffies64, bpf_sk_storage_get},
    programs::SockOpsContext,
};
use probe_common::{
    connection::{Connection, Stage},
    proxied::Proxied,
    reason::Reason,
    service::Role,
    user::{ClientKey, mapped},
};

use super::{early, segment::Heads, socket_state};
use crate::{
    atomic, clients, complaint, latency,
    maps::{SOCKETS, STATES_BY_SOCK_OPS},
    peers, proxies, services,
};

const AF_INET: u32 = 2;

/// Notes what becomes of a connection.
#[inline(always)]
pub fn observe(ctx: &SockOpsContext, heads: Heads) {
    let result = match ctx.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(ctx, Role::Client, heads),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(ctx, Role::Server, heads),
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(ctx),
        BPF_SOCK_OPS_STATE_CB => {
            changed(ctx, heads);
            Ok(())
        }
        _ => Ok(()),
    };
    if let Err(reason) = result {
        complaint::file(ctx, reason, 0);
    }
}

/// The state of the context's socket.
#[inline(always)]
fn connection<'a>(ops: *mut bpf_sock_ops, flags: u32) -> Option<&'a mut Connection> {
    // SAFETY: a field of the context.
    let sk = unsafe { (*ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return None;
    }
    // SAFETY: a full socket, as the verifier makes sure; null or valid comes back; all zero is a `Connection`.
    unsafe {
        bpf_sk_storage_get(SOCKETS.as_ptr(), sk.cast(), ptr::null_mut(), u64::from(flags))
            .cast::<Connection>()
            .as_mut()
    }
}

/// The handshake is done.
#[inline(always)]
fn established(ctx: &SockOpsContext, role: Role, heads: Heads) -> Result<(), Reason> {
    let ops = ctx.ops;
    let connection = connection(ops, BPF_SK_STORAGE_GET_F_CREATE).ok_or(Reason::SocketState)?;
    if matches!(connection.stage, Stage::Open | Stage::Joined) {
        return Ok(());
    }
    // SAFETY: fields of the context (kernel 4.15).
    let (received, sent) = unsafe { ((*ops).rcv_nxt, (*ops).snd_nxt) };
    let (request, response) = match role {
        Role::Server => (received, sent),
        Role::Client => (sent, received),
    };
    // A client's request may have begun with the SYN.
    if matches!(role, Role::Server) || !connection.request.seen {
        connection.request.begin_at(request);
    }
    connection.response.begin_at(response);
    connection.role = role as u8;
    connection.stage = Stage::Open;
    connection.ended = [false; 2];
    if matches!(role, Role::Server) {
        connection.client = remote(ops);
        connection.counting = proxies::counting_of(&connection.client);
    }
    // Whether the service was taken away is not asked: the segment that completed the handshake has just passed the hook of the
    // socket, or of the listener that this is a copy of, where that was asked, and the kernel holds off the agent's grace period
    // (`Grace`) until both are done. What is counted as opened below keeps the service from then on.
    if !connection.introduced {
        // Neither its SYN nor its listener was seen: the attaching came in between.
        // SAFETY: fields of the context: the local port in the host's order, the remote one in the network's.
        let (local, remote) = unsafe { ((*ops).local_port, u32::from_be((*ops).remote_port)) };
        let port = match role {
            Role::Server => local,
            Role::Client => remote,
        };
        if let Err(reason) = services::assign_to_cgroup(connection, 0, port as u16) {
            complaint::file(ctx, reason, connection.service);
        }
    }
    if let Some(counters) = services::counters(connection.service) {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe { atomic::add(&raw mut (*counters).opened, 1) };
    }
    count_peer(ctx, connection);
    time_handshake(ctx, connection);
    if matches!(role, Role::Server) {
        // SAFETY: a field of the context, in network order.
        let port = u32::from_be(unsafe { (*ops).remote_port }) as u16;
        let begun = early::start(connection, received, port, heads);
        connection.note_first_window(received);
        enter_client(ops, connection, begun)?;
    } else {
        connection.note_first_window(received);
    }
    follow_states(ctx);
    Ok(())
}

/// Counts the connection to its peer, where these are counted. A function of its own, which keeps its branches from the caller.
#[inline(never)]
fn count_peer(ctx: &SockOpsContext, connection: &mut Connection) {
    if peers::are_counted() {
        if connection.role == Role::Client as u8 {
            connection.client = remote(ctx.ops);
        }
        peers::count_connection(connection);
    }
}

/// Enters the client of a connection, or makes ready for those that a proxy will name.
#[inline(always)]
fn enter_client(
    ops: *mut bpf_sock_ops,
    connection: &mut Connection,
    begun: Option<&Proxied>,
) -> Result<(), Reason> {
    if !proxies::speak_on(connection) {
        clients::arrive(connection);
        return Ok(());
    }
    if let Some(begun) = begun
        && connection.pending.waiting() > 0
    {
        let address = begun.client().unwrap_or(connection.client);
        let client = ClientKey { address, service: connection.service };
        if !clients::enter(&client, 0, connection.last_request) {
            clients::sample(&client, 0, connection.last_request);
        }
    }
    // SAFETY: a field of the context.
    let sk = unsafe { (*ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return Err(Reason::SocketState);
    }
    // SAFETY: a full socket, as the verifier makes sure.
    unsafe { proxies::follow(sk.cast(), begun) }
}

/// Counts the round-trip time that the handshake showed.
#[inline(always)]
fn time_handshake(ctx: &SockOpsContext, connection: &mut Connection) {
    // SAFETY: a helper without arguments (kernel 5.6).
    connection.timed = unsafe { bpf_jiffies64() } as u16;
    // SAFETY: a field of the context (kernel 4.16).
    let smoothed = unsafe { (*ctx.ops).srtt_us };
    if smoothed != 0 {
        latency::record_round_trip(connection.service, smoothed);
    }
}

/// The client's address.
#[inline(always)]
fn remote(ops: *mut bpf_sock_ops) -> [u8; 16] {
    // SAFETY: fields of the context, in network order.
    unsafe {
        if (*ops).family == AF_INET {
            return mapped((*ops).remote_ip4.to_ne_bytes());
        }
        // One by one: the verifier allows no pointer into the context but the context itself.
        let words = [
            (&raw const (*ops).remote_ip6[0]).read_volatile(),
            (&raw const (*ops).remote_ip6[1]).read_volatile(),
            (&raw const (*ops).remote_ip6[2]).read_volatile(),
            (&raw const (*ops).remote_ip6[3]).read_volatile(),
        ];
        core::mem::transmute::<[u32; 4], [u8; 16]>(words)
    }
}

/// A connection is asked for, where no tracing program says so.
#[inline(always)]
fn connecting(ctx: &SockOpsContext) -> Result<(), Reason> {
    if STATES_BY_SOCK_OPS.load() == 0 {
        return Ok(());
    }
    let connection = connection(ctx.ops, BPF_SK_STORAGE_GET_F_CREATE).ok_or(Reason::SocketState)?;
    socket_state::begin_connecting(connection);
    follow_states(ctx);
    Ok(())
}

/// Asks to be told of a socket's further states, where no tracing program says so.
#[inline(always)]
fn follow_states(ctx: &SockOpsContext) {
    if STATES_BY_SOCK_OPS.load() != 0 {
        // Fails only where another program's flags cannot be kept, and they are.
        let _ = ctx.set_cb_flags((ctx.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG).cast_signed());
    }
}

/// A socket's state has changed, where no tracing program says so.
#[inline(always)]
fn changed(ctx: &SockOpsContext, heads: Heads) {
    if STATES_BY_SOCK_OPS.load() == 0 || ctx.arg(1) != socket_state::TCP_CLOSE.cast_unsigned() {
        return;
    }
    if let Some(connection) = connection(ctx.ops, 0) {
        socket_state::close(connection, heads);
    }
}
