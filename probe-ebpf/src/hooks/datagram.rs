//! UDP sockets: `cgroup/sock_create` tells who makes one, and `cgroup_skb` shows what it sends and receives.
//!
//! Sockets of the kernel itself (of tunnels, say) are seen by neither.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    helpers::generated::{bpf_jiffies64, bpf_sk_cgroup_id, bpf_sk_storage_get},
    programs::SockContext,
};
use probe_common::{
    datagram::{DatagramSocket, First, History, Port, Standing},
    interface::{Transport, Way},
    reason::Reason,
    service::Role,
    user::ClientKey,
};

use super::socket_state;
use crate::{
    clients, complaint,
    maps::{DATAGRAMS, FIRST_GIVEN_PORT, LAST_GIVEN_PORT},
    packet::{self, Udp},
    services::{self, Place},
    volume::{self, Volume},
};

pub const IPPROTO_UDP: u32 = 17;

/// Notes who makes a UDP socket: whoever sends or receives later may be a softirq.
#[inline(always)]
pub fn made(ctx: &SockContext) {
    let sk = ctx.sock;
    // SAFETY: a field of the context.
    if unsafe { (*sk).protocol } != IPPROTO_UDP {
        return;
    }
    match state(sk) {
        Ok(socket) => {
            socket.owner = socket_state::current();
            socket.standing = Standing::Made;
        }
        // Tried again with its first datagram.
        Err(reason) => complaint::count(reason),
    }
}

/// Counts a datagram to its service. A function of its own: programs for TCP's packets keep their registers.
#[inline(never)]
pub fn observe(skb: *mut __sk_buff, sk: *mut bpf_sock, way: Way) -> Result<(), Reason> {
    let udp = packet::udp(skb).ok_or(Reason::Unreadable)?;
    let socket = state(sk)?;
    let introduced = match socket.standing {
        Standing::Introduced if services::is_current(socket.service, socket.generation) => Ok(()),
        // Its service fell idle, and was taken away: role and port stay.
        Standing::Introduced => assign(socket, sk),
        Standing::Unknown | Standing::Made => introduce(socket, sk, &udp, way),
    };
    count(skb, socket.service, &udp, way);
    if matches!(way, Way::Receive) && socket.role == Role::Server as u8 {
        hear(socket, skb);
    }
    introduced
}

/// The state of a socket, made if there is none. Kernel 5.2, in `sock_create` 5.9.
#[inline(always)]
fn state<'a>(sk: *mut bpf_sock) -> Result<&'a mut DatagramSocket, Reason> {
    // SAFETY: storage of a full socket, zeroed; null or valid comes back, and all zero is a `DatagramSocket`.
    unsafe {
        bpf_sk_storage_get(
            DATAGRAMS.as_ptr(),
            sk.cast::<c_void>(),
            ptr::null_mut(),
            u64::from(BPF_SK_STORAGE_GET_F_CREATE),
        )
        .cast::<DatagramSocket>()
        .as_mut()
    }
    .ok_or(Reason::SocketState)
}

/// The first datagram of a socket: which service.
#[inline(always)]
fn introduce(socket: &mut DatagramSocket, sk: *mut bpf_sock, udp: &Udp, way: Way) -> Result<(), Reason> {
    let (local, remote) = match way {
        Way::Receive => (udp.destination, udp.source),
        Way::Transmit => (udp.source, udp.destination),
    };
    let (first, last) = (FIRST_GIVEN_PORT.load(), LAST_GIVEN_PORT.load());
    let role = First {
        way,
        local: Port::of(local, first, last),
        remote: Port::of(remote, first, last),
        history: if matches!(socket.standing, Standing::Made) { History::None } else { History::Unknown },
    }
    .role();
    socket.port = if matches!(role, Role::Server) { local } else { remote };
    socket.role = role as u8;
    assign(socket, sk)
}

/// Finds the service of a socket whose role and port are known.
#[inline(always)]
fn assign(socket: &mut DatagramSocket, sk: *mut bpf_sock) -> Result<(), Reason> {
    // SAFETY: `sk` is a full socket (kernel 5.8 for this helper in cgroup_skb).
    let cgroup = unsafe { bpf_sk_cgroup_id(sk.cast()) };
    let (port, role) = (socket.port, socket.role);
    let place = Place { index: &mut socket.service, generation: &mut socket.generation };
    let found = services::of(place, &socket.owner, cgroup, port, role, Transport::Udp);
    // Whoever was heard last is no user of this service yet.
    socket.heard = 0;
    socket.standing = Standing::Introduced;
    found
}

/// Adds a datagram to a service, or the several that a buffer of segmentation offload stands for.
#[inline(always)]
fn count(skb: *mut __sk_buff, service: u32, udp: &Udp, way: Way) {
    let total = udp.offset + udp.length;
    let volume = Volume { fresh: u64::from(udp.length), ..Volume::of(skb, total, udp.offset) };
    volume::count(service, way, &volume);
}

/// Enters who sent a datagram among the clients; once a tick of the kernel's clock is enough.
#[inline(always)]
fn hear(socket: &mut DatagramSocket, skb: *mut __sk_buff) {
    let Some(address) = packet::source(skb) else { return };
    // SAFETY: a helper without arguments (kernel 5.6), which the verifier makes a load of memory.
    let tick = unsafe { bpf_jiffies64() };
    if socket.heard == tick && socket.client == address {
        return;
    }
    socket.heard = tick;
    socket.client = address;
    clients::hear(&ClientKey { address, service: socket.service });
}
