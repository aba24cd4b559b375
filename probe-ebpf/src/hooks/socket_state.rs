//! `tp_btf/inet_sock_set_state`: `(const struct sock *sk, const int oldstate, const int newstate)`, as in
//! `include/trace/events/sock.h` of 5.10 to 6.18. Sockets that listen, connect and close, whoever made them.

use core::ptr;

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns, generated::bpf_sk_storage_get,
    },
    programs::BtfTracePointContext,
};
use probe_common::{
    connection::{Connection, Owner, Stage},
    pending,
    reason::Reason,
    service::Role,
};

use crate::{atomic, clients, complaint, latency, maps::SOCKETS, services};

pub const TCP_SYN_SENT: i32 = 2;
pub const TCP_CLOSE: i32 = 7;
pub const TCP_LISTEN: i32 = 10;

/// Notes a socket's new state.
#[inline(always)]
pub fn observe(ctx: &BtfTracePointContext) {
    let new: i32 = ctx.arg(2);
    match new {
        // Both come from the system call of the task that wants it, so that its name can be had.
        TCP_SYN_SENT => {
            let Some(connection) = connection(ctx, BPF_SK_STORAGE_GET_F_CREATE) else {
                return complaint::file(ctx, Reason::SocketState, 0);
            };
            begin_connecting(connection);
            connection.owner = current();
        }
        TCP_LISTEN => {
            let Some(connection) = connection(ctx, BPF_SK_STORAGE_GET_F_CREATE) else {
                return complaint::file(ctx, Reason::SocketState, 0);
            };
            connection.stage = Stage::Listening;
            connection.role = Role::Server as u8;
            connection.owner = current();
            connection.introduced = false;
        }
        TCP_CLOSE => {
            if let Some(connection) = connection(ctx, 0) {
                close(connection);
            }
        }
        _ => {}
    }
}

/// The state of the tracepoint's socket.
#[inline(always)]
fn connection<'a>(ctx: &BtfTracePointContext, flags: u32) -> Option<&'a mut Connection> {
    // SAFETY: the context of a BTF tracepoint is an array of its arguments; the first is a socket, which the
    // verifier tracks only when it is loaded straight from the context.
    let sk = unsafe { *ctx.as_ptr().cast::<*mut core::ffi::c_void>() };
    // SAFETY: storage of a socket (kernel 5.11 in tracing programs); null or valid comes back.
    unsafe {
        bpf_sk_storage_get(SOCKETS.as_ptr(), sk, ptr::null_mut(), u64::from(flags))
            .cast::<Connection>()
            .as_mut()
    }
}

/// The task that is running.
#[inline(always)]
fn current() -> Owner {
    let id = bpf_get_current_pid_tgid();
    let command = bpf_get_current_comm().unwrap_or([0; 16]);
    Owner { command, process: (id >> 32) as u32, thread: id as u32 }
}

/// A socket begins to connect, perhaps once more after a failure.
#[inline(always)]
pub fn begin_connecting(connection: &mut Connection) {
    connection.stage = Stage::Connecting;
    connection.role = Role::Client as u8;
    connection.introduced = false;
}

/// A socket is done.
#[inline(always)]
pub fn close(connection: &mut Connection) {
    let counters = services::counters(connection.service);
    match connection.stage {
        Stage::Open | Stage::Joined => {
            if let Some(counters) = counters {
                // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
                unsafe { atomic::add(&raw mut (*counters).closed, 1) };
            }
            if connection.role == Role::Server as u8 {
                clients::leave(connection);
            }
            end_requests(connection);
        }
        Stage::Connecting if connection.introduced => {
            if let Some(counters) = counters {
                // SAFETY: as above.
                unsafe { atomic::add(&raw mut (*counters).failed, 1) };
            }
        }
        _ => {}
    }
    connection.stage = Stage::Closed;
}

/// Counts the requests that got no answer, and the answer that ended with the connection.
#[inline(always)]
fn end_requests(connection: &mut Connection) {
    if connection.pending.waiting() == 0 {
        return;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    for _ in 0..pending::DEPTH {
        let step = connection.close(now);
        if let Some(reason) = step.unmeasured {
            complaint::count(reason);
        }
        let Some(exchange) = step.exchange else { return };
        if let Err(reason) = latency::record(connection.service, &exchange) {
            complaint::count(reason);
        }
    }
}
