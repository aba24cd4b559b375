//! Connections that are older than the probe: taken up at its start, without waiting for their next packet.
//!
//! The agent lists them and runs this program once for each, by `BPF_PROG_TEST_RUN` in the connection's network
//! namespace. That is the same work as at a connection's first packet, in the kernel, so that no packet that comes
//! meanwhile can be in its way.

use core::ptr;

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_tuple},
    helpers::{
        bpf_sk_fullsock,
        generated::{bpf_sk_release, bpf_sk_storage_get, bpf_skb_load_bytes, bpf_skc_lookup_tcp},
    },
    programs::SkBuffContext,
};
use probe_common::{
    connection::{Connection, Owner},
    older::Older,
    reason::Reason,
};

use super::{listener::CURRENT, socket_traffic};
use crate::{complaint, maps::SOCKETS};

/// Takes up the connection that the packet names.
#[inline(always)]
pub fn observe(ctx: &SkBuffContext) {
    let skb = ctx.skb.skb;
    let mut older = Older::default();
    // Not read from the packet itself: before 6.10 or so a test run does not show a cgroup program its packet's bytes.
    // SAFETY: as many bytes as an `Older` has, which any bytes are.
    let failed =
        unsafe { bpf_skb_load_bytes(skb.cast(), 0, (&raw mut older).cast(), size_of::<Older>() as u32) };
    if failed != 0 {
        return complaint::count(Reason::Unreadable);
    }
    // SAFETY: zero is a tuple.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    // SAFETY: fields of a union of integers. As the other end would have it in a packet to this socket.
    let size = unsafe {
        if older.is_ipv4() {
            tuple.__bindgen_anon_1.ipv4.saddr = older.remote[3];
            tuple.__bindgen_anon_1.ipv4.daddr = older.local[3];
            tuple.__bindgen_anon_1.ipv4.sport = older.remote_port;
            tuple.__bindgen_anon_1.ipv4.dport = older.local_port;
            size_of_val(&tuple.__bindgen_anon_1.ipv4)
        } else {
            tuple.__bindgen_anon_1.ipv6.saddr = older.remote;
            tuple.__bindgen_anon_1.ipv6.daddr = older.local;
            tuple.__bindgen_anon_1.ipv6.sport = older.remote_port;
            tuple.__bindgen_anon_1.ipv6.dport = older.local_port;
            size_of_val(&tuple.__bindgen_anon_1.ipv6)
        }
    };
    // SAFETY: a tuple of that size (kernel 5.2); what comes back is released.
    unsafe {
        let found = bpf_skc_lookup_tcp(skb.cast(), &raw mut tuple, size as u32, CURRENT, 0);
        if found.is_null() {
            return;
        }
        let sk = bpf_sk_fullsock(found);
        if !sk.is_null()
            && let Err(reason) = take_up(ctx, sk, &older)
        {
            complaint::count(reason);
        }
        bpf_sk_release(found.cast());
    }
}

#[inline(always)]
fn take_up(ctx: &SkBuffContext, sk: *mut bpf_sock, older: &Older) -> Result<(), Reason> {
    // SAFETY: storage of a full socket.
    let known = unsafe { bpf_sk_storage_get(SOCKETS.as_ptr(), sk.cast(), ptr::null_mut(), 0) };
    // SAFETY: null or valid.
    if let Some(connection) = unsafe { known.cast::<Connection>().as_mut() }
        && connection.introduced
    {
        // A packet of it was faster.
        return Ok(());
    }
    let connection = socket_traffic::create(sk)?;
    connection.owner = Owner { command: older.command, process: older.process, thread: older.process };
    socket_traffic::introduce(connection, ctx.skb.skb, sk, socket_traffic::remote_port(sk))
}
