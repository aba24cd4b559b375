//! `tp_btf/tcp_rcv_space_adjust`: `(struct sock *sk)`, as in `include/trace/events/tcp.h` of 5.10 to 6.18. An application
//! has read from its socket: what came is in its hands, and has waited until now.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::BtfTracePointContext};
use probe_common::service::Role;

use super::socket_state::connection;

/// Notes the reading for the requests that waited for it.
#[inline(always)]
pub fn observe(ctx: &BtfTracePointContext) {
    let Some(connection) = connection(ctx, 0) else { return };
    if connection.role == Role::Server as u8 && connection.pending.unread() {
        // SAFETY: a helper without arguments.
        connection.pending.note_read(unsafe { bpf_ktime_get_ns() });
    }
}
