//! The clients of services: who is connected.

use aya_ebpf::bindings::BPF_NOEXIST;
use probe_common::{
    connection::Connection,
    reason::Reason,
    user::{Client, ClientKey},
};

use crate::{atomic, maps::CLIENTS};

/// -EEXIST
const EXISTS: i32 = -17;

/// A client has connected.
#[inline(always)]
pub fn arrive(connection: &Connection) -> Result<(), Reason> {
    let key = ClientKey { address: connection.client, service: connection.service };
    if add(&key, 1, 0) {
        return Ok(());
    }
    match CLIENTS.insert(key, Client { open: 1, last_request: 0 }, u64::from(BPF_NOEXIST)) {
        Ok(()) => Ok(()),
        // Another CPU made the entry in between.
        Err(EXISTS) if add(&key, 1, 0) => Ok(()),
        Err(_) => Err(Reason::ClientsFull),
    }
}

/// A client's connection has closed.
#[inline(always)]
pub fn leave(connection: &Connection) {
    let key = ClientKey { address: connection.client, service: connection.service };
    // No entry: the table was full when it came, which has been counted.
    let _ = add(&key, -1, connection.last_request);
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
