//! The clients of services: who is connected.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns};
use probe_common::{
    connection::Connection,
    proxied::Counting,
    reason::Reason,
    sketch::SketchKey,
    user::{Client, ClientKey},
};

use crate::{
    atomic, complaint,
    maps::{CLIENTS, EMPTY_SKETCH, EPOCH, SKETCHES},
    refusal::Refusal,
};

/// A client has connected.
#[inline(always)]
pub fn arrive(connection: &mut Connection) {
    let key = ClientKey { address: connection.client, service: connection.service };
    if !enter(&key, 1, 0) {
        connection.counting = Counting::Estimated;
        estimate(&key);
    }
}

/// A client's connection has closed.
#[inline(always)]
pub fn leave(connection: &Connection) {
    let key = ClientKey { address: connection.client, service: connection.service };
    match connection.counting {
        // No entry: the agent forgot it, or a reset socket leaves twice.
        Counting::Connected => _ = add(&key, -1, connection.last_request),
        // It is a user for as long as the window from now on.
        Counting::Estimated => estimate(&key),
        // Its clients were entered as they asked.
        Counting::ByRequest => {}
    }
}

/// A client without a connection has sent something: it is a user for as long as the window from now on.
#[inline(always)]
pub fn hear(key: &ClientKey) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if !enter(key, 0, now) {
        estimate(key);
    }
}

/// Enters a client that has so many more connections, or none but a request at that time: it is a user for as long as the
/// window from then on. False if it found no place, which has been counted, and it is to be estimated: by the caller, as two
/// functions within each other are more than the stack has room for.
#[inline(never)]
pub fn enter(key: &ClientKey, connections: i64, last_request: u64) -> bool {
    if add(key, connections, last_request) {
        return true;
    }
    let client = Client { open: connections, last_request };
    let Err(error) = CLIENTS.insert(key, client, u64::from(BPF_NOEXIST)) else { return true };
    let refusal = Refusal::of(error);
    if matches!(refusal, Refusal::LostRace) && add(key, connections, last_request) {
        return true;
    }
    complaint::count(refusal.reason(Reason::ClientsFull));
    false
}

/// Takes a client that has no entry into the estimate.
#[inline(never)]
pub fn estimate(client: &ClientKey) {
    let (Some(epoch), Some(empty)) = (EPOCH.get(0), EMPTY_SKETCH.get(0)) else { return };
    let key = SketchKey { service: client.service, epoch: *epoch };
    let mut reason = Reason::SketchesFull;
    let sketch = SKETCHES.get_ptr_mut(key).or_else(|| {
        if let Err(error) = SKETCHES.insert(key, empty, u64::from(BPF_NOEXIST)) {
            reason = Refusal::of(error).reason(Reason::SketchesFull);
        }
        SKETCHES.get_ptr_mut(key)
    });
    match sketch {
        // SAFETY: the map's value, valid for the program's run.
        Some(sketch) => unsafe { (*sketch).add(client) },
        None => complaint::count(reason),
    }
}

#[inline(always)]
fn add(key: &ClientKey, connections: i64, last_request: u64) -> bool {
    let Some(client) = CLIENTS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    unsafe {
        atomic::add((&raw mut (*client).open).cast(), connections.cast_unsigned());
        if (*client).last_request < last_request {
            (*client).last_request = last_request;
        }
    }
    true
}
