//! Programs that call what the probe's programs call, and decide nothing: what the kernel's own part of the work costs,
//! below which no program can come that measures the same. The benchmark attaches them, the agent never does.
//!
//! They take every segment with content for a whole message, look up and add to as many entries as the probe does for one,
//! and read as many bytes. What they leave out is what the probe is: to see where messages begin and end, whose they are and
//! whether a segment is what it seems.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(missing_docs, reason = "the macros of aya make items that cannot be documented")]
#![expect(clippy::needless_pass_by_value, reason = "the macros of aya hand contexts over by value")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets in a packet are small, and a check would be a panic"
)]

#[path = "../atomic.rs"]
#[expect(dead_code, reason = "the probe's programs need more of it")]
mod atomic;

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    EbpfContext,
    bindings::{
        __sk_buff, BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, TC_ACT_UNSPEC,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    helpers::{
        bpf_ktime_get_ns, bpf_loop, bpf_sk_fullsock,
        generated::{bpf_sk_storage_get, bpf_skb_load_bytes},
    },
    macros::{btf_map, btf_tracepoint, cgroup_skb, classifier, map, sock_ops},
    maps::{PerCpuArray, PerCpuHashMap},
    programs::{BtfTracePointContext, SkBuffContext, SockOpsContext, TcContext},
};
use probe_common::{
    bucket,
    exchange::{LatencyCell, LatencyKey, Span},
    interface::Way,
};

/// A cgroup program's verdict: let the packet pass.
const ALLOW: i32 = 1;

/// The most that is read of a segment at once, as by the probe.
const READ: u32 = 512;

const ETHERNET_HEADER: usize = 14;
const IP_AND_TCP: usize = 40;

/// What is known of a connection.
#[repr(C)]
pub struct State {
    /// 1 once its role is known: who first receives content is the server.
    seen: u64,
    server: u64,
    lock: u64,
    /// When the request came that waits; 0 if none does.
    began: u64,
    unread: u64,
    undelivered: u64,
    /// The probe's are as large: it is memory of the socket that both touch.
    rest: [u64; 113],
}

/// As in the probe's `maps.rs`.
#[repr(C)]
pub struct SocketStorage {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const State,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the pointers are never followed; they are there for their types.
unsafe impl Sync for SocketStorage {}

#[btf_map]
static FLOOR_SOCKETS: SocketStorage = SocketStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// As many counters as a service has that a packet adds to.
#[map]
static FLOOR_COUNTERS: PerCpuArray<[u64; 8]> = PerCpuArray::with_max_entries(4096, 0);

#[map]
static FLOOR_LATENCIES: PerCpuHashMap<LatencyKey, LatencyCell> = PerCpuHashMap::with_max_entries(65_536, 0);

#[map]
static FLOOR_SCRATCH: PerCpuArray<[u8; 1024]> = PerCpuArray::with_max_entries(4, 0);

#[map]
static FLOOR_INTERFACES: PerCpuHashMap<u32, [u64; 8]> = PerCpuHashMap::with_max_entries(64, 0);

/// Beside `socket_receive`. Kernel 5.17 (`bpf_loop`).
#[cgroup_skb(ingress)]
pub fn floor_receive(ctx: SkBuffContext) -> i32 {
    observe(ctx.skb.skb, Way::Receive, 0);
    ALLOW
}

/// Beside `socket_transmit`. Kernel 5.17.
#[cgroup_skb(egress)]
pub fn floor_transmit(ctx: SkBuffContext) -> i32 {
    observe(ctx.skb.skb, Way::Transmit, 0);
    ALLOW
}

/// Beside `trial_receive`. Kernel 5.17.
#[classifier]
pub fn trial_receive(ctx: TcContext) -> i32 {
    observe(ctx.skb.skb, Way::Receive, ETHERNET_HEADER);
    TC_ACT_UNSPEC
}

/// Beside `trial_transmit`. Kernel 5.17.
#[classifier]
pub fn trial_transmit(ctx: TcContext) -> i32 {
    observe(ctx.skb.skb, Way::Transmit, ETHERNET_HEADER);
    TC_ACT_UNSPEC
}

/// Beside `connections`, which matters to new connections only. Kernel 5.10.
#[sock_ops]
pub fn floor_connections(_: SockOpsContext) -> u32 {
    1
}

/// Beside `socket_states`, likewise. Kernel 5.10.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn floor_states(_: BtfTracePointContext) -> i32 {
    0
}

/// Beside `application_reads`. Kernel 5.11 (`bpf_sk_storage_get` in tracing programs).
#[btf_tracepoint(function = "tcp_rcv_space_adjust")]
pub fn floor_reads(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: the context of a BTF tracepoint is an array of its arguments; the first is a socket.
    let sk = unsafe { *ctx.as_ptr().cast::<*mut c_void>() };
    // SAFETY: storage of a socket; null or valid.
    let state =
        unsafe { bpf_sk_storage_get((&raw const FLOOR_SOCKETS).cast_mut().cast(), sk, ptr::null_mut(), 0) };
    // SAFETY: as above.
    if let Some(state) = unsafe { state.cast::<State>().as_mut() }
        && state.server != 0
        && state.unread != 0
    {
        // SAFETY: a helper without arguments.
        state.rest[0] = unsafe { bpf_ktime_get_ns() };
        state.unread = 0;
    }
    0
}

/// Beside `interface_receive`. Kernel 5.10 (clsact), 6.6 (TCX).
#[classifier]
pub fn floor_ingress(ctx: TcContext) -> i32 {
    cross(&ctx);
    TC_ACT_UNSPEC
}

/// Beside `interface_transmit`. Kernel 5.10 (clsact), 6.6 (TCX).
#[classifier]
pub fn floor_egress(ctx: TcContext) -> i32 {
    cross(&ctx);
    TC_ACT_UNSPEC
}

/// Counts a frame of an interface.
#[inline(always)]
fn cross(ctx: &TcContext) {
    // SAFETY: fields of the context.
    let (interface, length) = unsafe { ((*ctx.skb.skb).ifindex, (*ctx.skb.skb).len) };
    let Some(counters) = FLOOR_INTERFACES.get_ptr_mut(interface) else {
        _ = FLOOR_INTERFACES.insert(interface, [0; 8], 0);
        return;
    };
    // SAFETY: the map's value, valid for the program's run, of this CPU.
    unsafe {
        (*counters)[0] += u64::from(length);
        (*counters)[1] += 1;
    }
}

/// Counts a packet, and takes its content for a message.
#[inline(always)]
fn observe(skb: *mut __sk_buff, way: Way, network: usize) {
    // SAFETY: a field of the context.
    let sk = unsafe { (*skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: not null (kernel 5.1).
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return;
    }
    let make = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: storage of a full socket (kernel 5.2), zeroed.
    let state = unsafe {
        bpf_sk_storage_get((&raw const FLOOR_SOCKETS).cast_mut().cast(), sk.cast(), ptr::null_mut(), make)
    };
    // SAFETY: null or valid; all zero is a `State`.
    let Some(state) = (unsafe { state.cast::<State>().as_mut() }) else { return };
    let Some((offset, length)) = content(skb, network) else { return };
    if matches!(way, Way::Receive) {
        // SAFETY: in the socket's state, aligned to 8 bytes.
        unsafe { atomic::exchange(&raw mut state.lock, 1) };
    }
    follow(skb, state, way, offset, length);
    if matches!(way, Way::Receive) {
        // SAFETY: as above.
        unsafe { atomic::exchange(&raw mut state.lock, 0) };
    }
}

#[inline(always)]
fn follow(skb: *mut __sk_buff, state: &mut State, way: Way, offset: u32, length: u32) {
    let first = if matches!(way, Way::Receive) { 0 } else { 3 };
    count(first, u64::from(length), true);
    let delivers = matches!(way, Way::Receive) && state.server != 0 && state.undelivered != 0;
    if length == 0 && !delivers {
        return;
    }
    let now = time(skb, way);
    if delivers {
        state.undelivered = 0;
        let mut nothing = 0_u64;
        // SAFETY: a function of the signature that the helper wants, and a context that outlives the call.
        unsafe { bpf_loop(1, once as *mut c_void, (&raw mut nothing).cast(), 0) };
        add(Span::Delivery, now.wrapping_sub(state.began));
    }
    if length == 0 {
        return;
    }
    if state.seen == 0 {
        state.seen = 1;
        state.server = u64::from(matches!(way, Way::Receive));
    }
    read(skb, offset, length);
    if (state.server != 0) == matches!(way, Way::Receive) {
        state.began = now;
        state.unread = 1;
        count(6, 1, false);
        return;
    }
    let took = now.wrapping_sub(state.began);
    add(Span::Both, took);
    if state.server != 0 {
        add(Span::Queue, took >> 1);
        add(Span::Service, took >> 2);
        state.undelivered = 1;
    }
    count(7, 1, false);
}

/// Reads the first of the content, in one step of a loop.
#[inline(always)]
fn read(skb: *mut __sk_buff, offset: u32, length: u32) {
    let Some(buffer) = FLOOR_SCRATCH.get_ptr_mut(0) else { return };
    let length = if length > READ { READ } else { length };
    let length = (length.wrapping_sub(1) & (READ - 1)) + 1;
    // SAFETY: `READ` bytes fit.
    _ = unsafe { bpf_skb_load_bytes(skb.cast(), offset, buffer.cast::<c_void>(), length) };
    let mut nothing = 0_u64;
    // SAFETY: as above.
    unsafe { bpf_loop(1, once as *mut c_void, (&raw mut nothing).cast(), 0) };
}

extern "C" fn once(_index: u64, _context: *mut c_void) -> i64 {
    1
}

/// The time of a packet, by the means of the probe.
#[inline(always)]
fn time(skb: *mut __sk_buff, way: Way) -> u64 {
    if matches!(way, Way::Transmit) {
        // SAFETY: a field of the context (kernel 5.0).
        let stamp = unsafe { (&raw const (*skb).tstamp).read_volatile() };
        if stamp != 0 {
            return stamp;
        }
    }
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Adds to counters of a service: one, or three of a packet.
#[inline(always)]
fn count(first: usize, bytes: u64, packet: bool) {
    let Some(counters) = FLOOR_COUNTERS.get_ptr_mut(0) else { return };
    let counters = counters.cast::<u64>();
    // SAFETY: within the value, valid for the program's run.
    unsafe {
        atomic::add(counters.add(first), bytes);
        if packet {
            atomic::add(counters.add(first + 1), 1);
            atomic::add(counters.add(first + 2), bytes);
        }
    }
}

/// Adds to an entry of the histograms.
#[inline(never)]
fn add(span: Span, nanoseconds: u64) {
    let key =
        LatencyKey { span: span as u8, bucket: bucket::of_nanoseconds(nanoseconds), ..LatencyKey::default() };
    let Some(cell) = FLOOR_LATENCIES.get_ptr_mut(key) else {
        _ = FLOOR_LATENCIES.insert(key, LatencyCell { count: 1, sum: nanoseconds }, 0);
        return;
    };
    // SAFETY: the map's value, valid for the program's run.
    unsafe {
        atomic::add(&raw mut (*cell).count, 1);
        atomic::add(&raw mut (*cell).sum, nanoseconds);
    }
}

/// Offset and length of what a segment of TCP over IPv4 bears, without a look at what it is.
#[inline(always)]
fn content(skb: *mut __sk_buff, network: usize) -> Option<(u32, u32)> {
    // SAFETY: fields of the context, which the verifier knows.
    let (data, end, total) = unsafe { ((*skb).data as usize, (*skb).data_end as usize, (*skb).len) };
    let at = data + network;
    if at + IP_AND_TCP > end {
        return None;
    }
    // SAFETY: within the packet, as compared above.
    let words = unsafe { *((at + 32) as *const u8) };
    let offset = network as u32 + 20 + u32::from(words >> 4) * 4;
    Some((offset, total.saturating_sub(offset)))
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
