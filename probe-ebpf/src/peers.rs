//! With whom services talk. Nothing of this is in a program that is loaded without peers: see [`are_counted`].
//!
//! The peer is the address at the other end of the socket, as the edges of a graph have it: of a proxy that names its clients
//! in the heads of requests, it is the proxy. Only a trusted PROXY header makes another of it, for the connection.

use aya_ebpf::{bindings::BPF_NOEXIST, maps::lpm_trie::Key};
use probe_common::{
    connection::Connection,
    exchange::Exchange,
    peer::{Blame, OPEN, PeerCell, PeerKey},
    reason::Reason,
};

use crate::{
    atomic, complaint,
    maps::{
        EMPTY_PEER, LEAVING_PEERS, OTHER_PEERS, PEER_COUNTS, PEER_NETWORKS, PEER_NETWORKS_NAMED, PEERS,
        PEERS_CLOSED, PEERS_PER_SERVICE,
    },
    refusal::Refusal,
};

/// Whether peers are counted: a constant to the verifier, which drops what is behind it if they are not.
#[inline(always)]
pub fn are_counted() -> bool {
    PEERS_PER_SERVICE.load() != 0
}

/// Counts a request that has come to its end, where peers are counted.
#[inline(always)]
pub fn record(connection: &Connection, exchange: &Exchange) {
    if are_counted() {
        let network = network(connection);
        count_request(connection, network, exchange.status, exchange.duration);
    }
}

/// The number of the network that a connection's peer stands for; 0 if it is an address of its own. A function of its own, to be
/// called before it is counted: both within each other would be more than the stack has room for.
#[inline(never)]
fn network(connection: &Connection) -> u32 {
    if PEER_NETWORKS_NAMED.load() == 0 {
        return 0;
    }
    match PEER_NETWORKS.get(Key::new(128, connection.client)) {
        Some(number) => *number,
        None => 0,
    }
}

/// Counts a request that has come to its end. A function of its own that returns nothing, as [`crate::latency`] has it.
#[inline(never)]
fn count_request(connection: &Connection, network: u32, status: u16, nanoseconds: u64) {
    let Some(cell) = cell(connection, network) else { return };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes. Atomically: a run in a softirq may
    // interrupt one in process context.
    unsafe {
        atomic::add(&raw mut (*cell).requests, 1);
        atomic::add(&raw mut (*cell).nanoseconds, nanoseconds);
        match Blame::of(status) {
            Blame::Nobody => {}
            Blame::Client => atomic::add(&raw mut (*cell).blamed_on_client, 1),
            Blame::Server => atomic::add(&raw mut (*cell).blamed_on_server, 1),
        }
    }
}

/// Counts a connection that has been established.
#[inline(always)]
pub fn count_connection(connection: &Connection) {
    let Some(cell) = cell(connection, network(connection)) else { return };
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut (*cell).connections, 1) };
}

/// Where a connection's peer is counted: in an entry of its own, or in that of all which have none.
#[inline(always)]
fn cell(connection: &Connection, network: u32) -> Option<*mut PeerCell> {
    let address = if network == 0 { connection.client } else { [0; 16] };
    let key = &PeerKey { address, service: connection.service, network };
    // SAFETY: the map's value, valid for the program's run. It is the agent that writes it.
    let is_open = unsafe { PEERS_CLOSED.get_ptr(0)?.read_volatile() } == OPEN;
    // Of one that leaves nobody may have a pointer any more.
    if is_open || LEAVING_PEERS.get_ptr(key).is_none() {
        let known = PEERS.get_ptr_mut(key);
        if known.is_some() {
            return known;
        }
        if is_open && make(key) {
            let made = PEERS.get_ptr_mut(key);
            if made.is_some() {
                return made;
            }
        }
    }
    OTHER_PEERS.get_ptr_mut(key.service)
}

/// Makes an entry if its service has room, or leaves it to another CPU that was faster.
#[inline(always)]
fn make(key: &PeerKey) -> bool {
    let (Some(count), Some(empty)) = (PEER_COUNTS.get_ptr_mut(key.service), EMPTY_PEER.get(0)) else {
        return false;
    };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    if unsafe { count.read_volatile() } >= u64::from(PEERS_PER_SERVICE.load()) {
        complaint::count(Reason::PeersFull);
        return false;
    }
    let Err(error) = PEERS.insert(key, empty, u64::from(BPF_NOEXIST)) else {
        // SAFETY: as above.
        unsafe { atomic::add(count, 1) };
        return true;
    };
    let refusal = Refusal::of(error);
    if matches!(refusal, Refusal::LostRace) {
        return true;
    }
    complaint::count(refusal.reason(Reason::PeersFull));
    false
}
