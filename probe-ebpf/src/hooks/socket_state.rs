//! `tp_btf/inet_sock_set_state`: `(const struct sock *sk, const int oldstate, const int newstate)`, as in
//! `include/trace/events/sock.h` of 5.10 to 6.18. Sockets that listen, connect and close, whoever made them.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    EbpfContext,
    bindings::BPF_SK_STORAGE_GET_F_CREATE,
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        bpf_loop,
        generated::{bpf_get_current_task_btf, bpf_sk_storage_get},
    },
    programs::BtfTracePointContext,
};
use probe_common::{
    connection::{Connection, Owner, Stage},
    pending,
    reason::Reason,
    service::{OTHER, Role},
};

use super::segment::{self, Heads};
use crate::{
    ages, atomic, clients, complaint,
    maps::{COMMAND_AT, LEADER_AT, REMOTE_PORT_AT, SOCKETS},
    services,
};

pub const TCP_SYN_SENT: i32 = 2;
pub const TCP_CLOSE: i32 = 7;
pub const TCP_LISTEN: i32 = 10;

/// Notes a socket's new state.
#[inline(always)]
pub fn observe(ctx: &BtfTracePointContext, heads: Heads) {
    let new: i32 = ctx.arg(2);
    match new {
        // Both come from the system call of the task that wants it, so that its name can be had.
        TCP_SYN_SENT => {
            let Some(connection) = connection(ctx, BPF_SK_STORAGE_GET_F_CREATE) else {
                return complaint::file(ctx, Reason::SocketState, 0);
            };
            begin_connecting(connection);
            connection.owner = current();
            expect_service(ctx, connection);
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
                if matches!(connection.stage, Stage::Connecting) && REMOTE_PORT_AT.load() != 0 {
                    // No packet may have left, and it has a service all the same: see `expect_service`.
                    connection.introduced = true;
                }
                close(connection, heads);
            }
        }
        _ => {}
    }
}

/// The state of the tracepoint's socket.
#[inline(always)]
pub fn connection<'a>(ctx: &BtfTracePointContext, flags: u32) -> Option<&'a mut Connection> {
    // SAFETY: the context of a BTF tracepoint is an array of its arguments; the first is a socket, which the
    // verifier tracks only when it is loaded straight from the context.
    let sk = unsafe { *ctx.as_ptr().cast::<*mut c_void>() };
    // SAFETY: storage of a socket (kernel 5.11 in tracing programs); null or valid comes back.
    unsafe {
        bpf_sk_storage_get(SOCKETS.as_ptr(), sk, ptr::null_mut(), u64::from(flags))
            .cast::<Connection>()
            .as_mut()
    }
}

/// The task that is running.
#[inline(always)]
pub fn current() -> Owner {
    let id = bpf_get_current_pid_tgid();
    let (process, thread) = ((id >> 32) as u32, id as u32);
    if process != thread && LEADER_AT.load() != 0 {
        // A process has its main thread's name, whichever thread of it this is: it may have gone before anybody asks procfs.
        return Owner { command: command_of_leader(), process, thread: process };
    }
    Owner { command: bpf_get_current_comm().unwrap_or([0; 16]), process, thread }
}

/// The name of the running task's main thread.
#[inline(always)]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "fields lie as their types want; the verifier judges each read"
)]
fn command_of_leader() -> [u8; 16] {
    let (leader_at, command_at) = (LEADER_AT.load() as usize, COMMAND_AT.load() as usize);
    // SAFETY: the verifier knows the task's type, and that there is a pointer to a task at this offset, or refuses the program. What
    // is read by way of that pointer it reads with faults caught: zeros would come.
    let words = unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>();
        let leader = task.add(leader_at).cast::<*const u8>().read_volatile();
        let command = leader.add(command_at).cast::<u64>();
        [command.read_volatile(), command.add(1).read_volatile()]
    };
    let mut command = [0; 16];
    command[..8].copy_from_slice(&words[0].to_ne_bytes());
    command[8..].copy_from_slice(&words[1].to_ne_bytes());
    command
}

/// Gives a socket that begins to connect the service that its task's cgroup tells, until its SYN gives it the one of its own:
/// it may fail before a packet has left, and is to be counted then.
#[inline(always)]
#[expect(
    clippy::cast_ptr_alignment,
    reason = "fields lie as their types want; the verifier judges each read"
)]
fn expect_service(ctx: &BtfTracePointContext, connection: &mut Connection) {
    let at = REMOTE_PORT_AT.load() as usize;
    if at == 0 {
        return;
    }
    // SAFETY: the first argument is a socket, whose type the verifier knows; there is a port at this offset, or it refuses the program.
    let port = unsafe {
        let sk = *ctx.as_ptr().cast::<*const u8>();
        sk.add(at).cast::<u16>().read_volatile()
    };
    // SAFETY: a helper without arguments.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    // Where there is no room it is `other`, which the SYN tells.
    let _ = services::assign_to_cgroup(connection, cgroup, u16::from_be(port));
    connection.introduced = false;
}

/// A socket begins to connect, perhaps once more after a failure.
#[inline(always)]
pub fn begin_connecting(connection: &mut Connection) {
    connection.stage = Stage::Connecting;
    connection.role = Role::Client as u8;
    connection.introduced = false;
    connection.forget_ends();
    connection.scale = 0;
    connection.request.seen = false;
    connection.request.next_message();
}

/// A socket is done.
#[inline(always)]
pub fn close(connection: &mut Connection, heads: Heads) {
    let known =
        connection.introduced && matches!(connection.stage, Stage::Open | Stage::Joined | Stage::Connecting);
    let failed = matches!(connection.stage, Stage::Connecting);
    connection.stage = Stage::Closed;
    if !known {
        return;
    }
    if failed && !services::is_current(connection.service, connection.generation) {
        // It waited for longer than its service was kept, and nobody knows another by now.
        connection.service = OTHER;
    }
    if let Some(counters) = services::counters(connection.service) {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe {
            let counter = if failed { &raw mut (*counters).failed } else { &raw mut (*counters).closed };
            atomic::add(counter, 1);
        }
    }
    if !failed && connection.role == Role::Server as u8 {
        clients::leave(connection);
    }
    if matches!(heads, Heads::Read) {
        // One that failed may have had a request with its SYN.
        end_requests(connection);
    }
}

/// Counts the requests that got no answer, the answer that ended with the connection, and those that the client has
/// not acknowledged.
#[inline(always)]
fn end_requests(connection: &mut Connection) {
    if connection.pending.waiting() > 0 {
        // SAFETY: a helper without arguments.
        let mut ending = Ending { connection, now: unsafe { bpf_ktime_get_ns() }, ended: 0 };
        // SAFETY: a function of the signature that the helper wants, and a context that outlives the call.
        unsafe { bpf_loop(pending::MOST, end_request as *mut c_void, (&raw mut ending).cast(), 0) };
        segment::end(connection.service, connection.protocol.measured(), ending.ended as u32);
    }
    let missed = connection.missed();
    if missed > 0 {
        complaint::count_many(Reason::HeadLost, u64::from(missed));
    }
    if let Some(reason) = connection.unrecognised() {
        complaint::count(reason);
    }
    let undelivered = connection.undelivered();
    if undelivered > 0 {
        complaint::count_many(Reason::Undelivered, u64::from(undelivered));
    }
}

/// What a round of the loop over a closed connection's requests needs.
#[repr(C)]
struct Ending {
    connection: *mut Connection,
    now: u64,
    ended: u64,
}

/// Ends the oldest request: 0 to go on, 1 to stop.
extern "C" fn end_request(_index: u64, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's `Ending`; its connection is valid for the program's run.
    let (ending, connection) = unsafe {
        let ending = &mut *context.cast::<Ending>();
        let connection = &mut *ending.connection;
        (ending, connection)
    };
    let step = connection.close(ending.now);
    ending.ended += u64::from(step.ended);
    if step.ended {
        ages::end(connection.service, connection.pending.start_of_removed());
    }
    if let Some(reason) = step.unmeasured {
        complaint::count(reason);
    }
    if let Some(exchange) = &step.exchange {
        segment::record(connection, exchange);
    }
    i64::from(!step.ended)
}
