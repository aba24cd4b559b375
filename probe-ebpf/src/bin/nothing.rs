//! Programs that do nothing, at the hooks that the probe uses: what a hook costs by itself. The benchmark attaches them,
//! the agent never does.

#![no_std]
#![no_main]
#![expect(missing_docs, reason = "the macros of aya make items that cannot be documented")]

use aya_ebpf::{
    bindings::TC_ACT_UNSPEC,
    macros::{btf_tracepoint, cgroup_skb, classifier, sock_ops},
    programs::{BtfTracePointContext, SkBuffContext, SockOpsContext, TcContext},
};

/// A cgroup program's verdict: let the packet pass.
const ALLOW: i32 = 1;

/// Beside `socket_receive`. Kernel 5.10.
#[cgroup_skb(ingress)]
pub fn no_receive(_: SkBuffContext) -> i32 {
    ALLOW
}

/// Beside `socket_transmit`. Kernel 5.10.
#[cgroup_skb(egress)]
pub fn no_transmit(_: SkBuffContext) -> i32 {
    ALLOW
}

/// Beside `connections`. Kernel 5.10.
#[sock_ops]
pub fn no_connections(_: SockOpsContext) -> u32 {
    1
}

/// Beside `socket_states`. Kernel 5.10.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn no_states(_: BtfTracePointContext) -> i32 {
    0
}

/// Beside `application_reads`. Kernel 5.10.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub fn no_reads(_: BtfTracePointContext) -> i32 {
    0
}

/// Beside `interface_receive`. Kernel 5.10 (clsact), 6.6 (TCX).
#[classifier]
pub fn no_ingress(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Beside `interface_transmit`. Kernel 5.10 (clsact), 6.6 (TCX).
#[classifier]
pub fn no_egress(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Nothing here panics; the verifier would refuse a program that does.
    loop {}
}

/// The same as the probe's.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
