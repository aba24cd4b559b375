//! `iter/bpf_sk_storage_map`: every socket that the probe knows, one after the other, whenever the agent asks.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use probe_common::{
    connection::{Connection, Stage},
    proxied::Counting,
    user::ClientKey,
};

use crate::{
    clients,
    maps::{OLDEST_REQUESTS, SOCKETS},
};

/// What the iterator hands over: `struct bpf_iter__bpf_sk_storage_map` (`net/core/bpf_sk_storage.c`), whose members are
/// eight bytes each by definition (`__bpf_md_ptr`).
#[repr(C)]
pub struct Element {
    meta: *mut c_void,
    map: *mut c_void,
    /// The socket; null behind the last.
    pub socket: *mut c_void,
    value: *mut c_void,
}

/// Keeps the time of the socket's oldest request, if it is its service's oldest, and its client in the estimate, if that is
/// where it is counted.
#[inline(always)]
pub fn observe(element: *const Element) {
    // SAFETY: a field of the context.
    let socket = unsafe { (*element).socket };
    if socket.is_null() {
        // The end.
        return;
    }
    // Not through the context's own pointer to the state: the verifier lets that be read at constant offsets only, and
    // the place of the oldest request in its ring is none.
    // SAFETY: storage of a socket (kernel 5.11 in tracing programs); null or valid comes back.
    let connection = unsafe {
        bpf_sk_storage_get(SOCKETS.as_ptr(), socket, ptr::null_mut(), 0).cast::<Connection>().as_ref()
    };
    let Some(connection) = connection else { return };
    if matches!(connection.counting, Counting::Estimated)
        && matches!(connection.stage, Stage::Open | Stage::Joined)
    {
        // Its client is a user as long as it is connected, whichever part of the window it is.
        clients::estimate(&ClientKey { address: connection.client, service: connection.service });
    }
    let Some(started) = connection.pending.oldest(connection.last_request) else { return };
    let Some(oldest) = OLDEST_REQUESTS.get_ptr_mut(connection.service) else { return };
    // SAFETY: the map's value; only this program writes it while an iteration runs, and iterations are the agent's.
    unsafe {
        if *oldest == 0 || started < *oldest {
            *oldest = started;
        }
    }
}
