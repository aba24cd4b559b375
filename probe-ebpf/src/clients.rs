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
};

/// -EEXIST
const EXISTS: i32 = -17;

/// A client has connected.
#[inline(always)]
pub fn arrive(connection: &mut Connection) {
    let key = ClientKey { address: connection.client, service: connection.service };
    if add(&key, 1, 0) {
        return;
    }
    match CLIENTS.insert(key, Client { open: 1, last_request: 0 }, u64::from(BPF_NOEXIST)) {
        Ok(()) => {}
        // Another CPU made the entry in between.
        Err(EXISTS) if add(&key, 1, 0) => {}
        Err(_) => {
            connection.counting = Counting::Estimated;
            complaint::count(Reason::ClientsFull);
            estimate(&key);
        }
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

/// A client has made a request through a proxy: it is a user for as long as the window from then on. False if there
/// was no room, and it is to be estimated: by the caller, as two functions within each other are more than the stack has
/// room for.
#[inline(never)]
pub fn ask(key: &ClientKey, last_request: u64) -> bool {
    if add(key, 0, last_request) {
        return true;
    }
    match CLIENTS.insert(key, Client { open: 0, last_request }, u64::from(BPF_NOEXIST)) {
        Ok(()) => true,
        // Another CPU made the entry in between.
        Err(EXISTS) if add(key, 0, last_request) => true,
        Err(_) => {
            complaint::count(Reason::ClientsFull);
            false
        }
    }
}

/// A client without a connection has sent something: it is a user for as long as the window from now on.
#[inline(always)]
pub fn hear(key: &ClientKey) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if add(key, 0, now) {
        return;
    }
    match CLIENTS.insert(key, Client { open: 0, last_request: now }, u64::from(BPF_NOEXIST)) {
        // Another CPU made the entry in between: as good.
        Ok(()) | Err(EXISTS) => {}
        Err(_) => {
            complaint::count(Reason::ClientsFull);
            estimate(key);
        }
    }
}

/// Takes a client that has no entry into the estimate.
#[inline(never)]
pub fn estimate(client: &ClientKey) {
    let (Some(epoch), Some(empty)) = (EPOCH.get(0), EMPTY_SKETCH.get(0)) else { return };
    let key = SketchKey { service: client.service, epoch: *epoch };
    let sketch = SKETCHES.get_ptr_mut(key).or_else(|| {
        // Fails where another CPU was faster, and where there is no room.
        let _ = SKETCHES.insert(key, empty, u64::from(BPF_NOEXIST));
        SKETCHES.get_ptr_mut(key)
    });
    match sketch {
        // SAFETY: the map's value, valid for the program's run.
        Some(sketch) => unsafe { (*sketch).add(client) },
        None => complaint::count(Reason::SketchesFull),
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
