//! The kernel side of traffic-probe: the entry points. Each is a thin adapter; what a packet means to a connection
//! is decided in `probe-common`.
//!
//! Every program only looks: its verdict is the neutral one of its hook, whatever happens.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(missing_docs, reason = "the macros of aya make items that cannot be documented")]
#![expect(clippy::needless_pass_by_value, reason = "the macros of aya hand contexts over by value")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "ports and lengths come in wider fields than they are, and a check would be a panic"
)]

mod ages;
mod atomic;
mod clients;
mod complaint;
mod hooks;
mod latency;
mod maps;
mod packet;
mod peers;
mod proxies;
mod quota;
mod refusal;
mod routes;
mod scratch;
mod services;
mod volume;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    macros::{btf_tracepoint, cgroup_skb, cgroup_sock, classifier, perf_event, sock_ops, xdp},
    programs::{
        BtfTracePointContext, PerfEventContext, SkBuffContext, SockContext, SockOpsContext, TcContext,
        XdpContext,
    },
};
use probe_common::interface::Way;

use crate::hooks::{
    adoption, application_read, connection_life, datagram, interface, orders, segment::Heads, socket_state,
    socket_traffic, trial, trial_client, trial_count,
};

/// A cgroup program's verdict: let the packet pass.
const ALLOW: i32 = 1;

/// Packets that arrive at sockets. Kernel 5.17 (`bpf_loop`).
#[cgroup_skb(ingress)]
pub fn socket_receive(ctx: SkBuffContext) -> i32 {
    socket_traffic::observe(&ctx, Way::Receive, Heads::Read);
    ALLOW
}

/// The same where there is no `bpf_loop`: bytes, packets, connections and users, but no requests. Kernel 5.10.
#[cgroup_skb(ingress)]
pub fn socket_receive_plain(ctx: SkBuffContext) -> i32 {
    socket_traffic::observe(&ctx, Way::Receive, Heads::PassOver);
    ALLOW
}

/// Packets that sockets send. Kernel 5.17 (`bpf_loop`).
#[cgroup_skb(egress)]
pub fn socket_transmit(ctx: SkBuffContext) -> i32 {
    socket_traffic::observe(&ctx, Way::Transmit, Heads::Read);
    ALLOW
}

/// The same where there is no `bpf_loop`. Kernel 5.10.
#[cgroup_skb(egress)]
pub fn socket_transmit_plain(ctx: SkBuffContext) -> i32 {
    socket_traffic::observe(&ctx, Way::Transmit, Heads::PassOver);
    ALLOW
}

/// Sockets that are made: whose the UDP ones are. Kernel 5.10 (`bpf_sk_storage_get` here: 5.9).
#[cgroup_sock(sock_create)]
pub fn datagram_sockets(ctx: SockContext) -> i32 {
    datagram::made(&ctx);
    ALLOW
}

/// Connections established, and closed where no tracepoint tells of that. Kernel 5.17 (`bpf_loop`).
#[sock_ops]
pub fn connections(ctx: SockOpsContext) -> u32 {
    connection_life::observe(&ctx, Heads::Read);
    1
}

/// The same where there is no `bpf_loop`, and so no request to end. Kernel 5.10 (`bpf_sk_storage_get` in `sock_ops`: 5.2;
/// `snd_nxt` and `sk`: 5.10).
#[sock_ops]
pub fn connections_plain(ctx: SockOpsContext) -> u32 {
    connection_life::observe(&ctx, Heads::PassOver);
    1
}

/// Sockets that listen, connect and close. Kernel 5.17 (`bpf_loop`).
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn socket_states(ctx: BtfTracePointContext) -> i32 {
    socket_state::observe(&ctx, Heads::Read);
    0
}

/// The same where there is no `bpf_loop`, and so no request to end. Kernel 5.11 (`bpf_sk_storage_get` in tracing
/// programs).
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn socket_states_plain(ctx: BtfTracePointContext) -> i32 {
    socket_state::observe(&ctx, Heads::PassOver);
    0
}

/// Applications that read from their sockets. Kernel 5.11, likewise.
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub fn application_reads(ctx: BtfTracePointContext) -> i32 {
    application_read::observe(&ctx);
    0
}

/// What the agent wants done to entries of histograms, run once by the agent for all of it. Kernel 5.13
/// (`bpf_for_each_map_elem`).
#[cgroup_skb(ingress)]
pub fn carry_out_orders(_: SkBuffContext) -> i32 {
    orders::carry_out_all();
    ALLOW
}

/// Connections that are older than the probe, each run once by the agent. Kernel 5.10.
#[cgroup_skb(ingress)]
pub fn adopt(ctx: SkBuffContext) -> i32 {
    adoption::observe(&ctx);
    ALLOW
}

/// What `socket_receive` does, for tests. Kernel 5.17.
#[classifier]
pub fn trial_receive(ctx: TcContext) -> i32 {
    trial::observe(&ctx, Way::Receive);
    TC_ACT_UNSPEC
}

/// What `socket_transmit` does, for tests. Kernel 5.17.
#[classifier]
pub fn trial_transmit(ctx: TcContext) -> i32 {
    trial::observe(&ctx, Way::Transmit);
    TC_ACT_UNSPEC
}

/// Counts a request as if it had ended, for tests. Kernel 5.10.
#[classifier]
pub fn trial_request(ctx: TcContext) -> i32 {
    trial_count::observe(&ctx);
    TC_ACT_UNSPEC
}

/// The same in an interrupt. Kernel 5.10.
#[perf_event]
pub fn trial_interrupt(_: PerfEventContext) -> u32 {
    trial_count::interrupt();
    0
}

/// Has a client come or go, for tests. Kernel 5.10.
#[classifier]
pub fn trial_client(ctx: TcContext) -> i32 {
    trial_client::observe(&ctx)
}

/// Packets that an interface receives. Kernel 5.10 (clsact), 6.6 (TCX).
#[classifier]
pub fn interface_receive(ctx: TcContext) -> i32 {
    interface::observe_skb(&ctx, Way::Receive);
    TC_ACT_UNSPEC
}

/// Packets that an interface sends. Kernel 5.10 (clsact), 6.6 (TCX).
#[classifier]
pub fn interface_transmit(ctx: TcContext) -> i32 {
    interface::observe_skb(&ctx, Way::Transmit);
    TC_ACT_UNSPEC
}

/// Packets that an interface's driver receives. Kernel 5.10.
#[xdp]
pub fn interface_driver(ctx: XdpContext) -> u32 {
    interface::observe_frame(&ctx);
    XDP_PASS
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this can be reached.
    loop {}
}

/// Some helpers are for programs with this licence only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
