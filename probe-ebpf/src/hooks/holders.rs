//! `iter/bpf_sk_storage_map`: which services sockets belong to, of those that the agent wants to take away. Kernel 5.11
//! (`bpf_sk_storage_get` in tracing programs).

use core::ptr;

use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use probe_common::{
    connection::{Connection, Stage},
    datagram::DatagramSocket,
    service,
};

use super::oldest_request::Element;
use crate::maps::{DATAGRAMS, HOLDERS, SOCKETS};

/// Notes that a TCP socket belongs to its service. One that listens does not hold it: it finds it anew with its next
/// connection, under the index that the service has by then.
#[inline(always)]
pub fn observe_connection(element: *const Element) {
    // SAFETY: a field of the context.
    let socket = unsafe { (*element).socket };
    if socket.is_null() {
        // The end.
        return;
    }
    // SAFETY: storage of a socket; null or valid comes back.
    let connection = unsafe {
        bpf_sk_storage_get(SOCKETS.as_ptr(), socket, ptr::null_mut(), 0).cast::<Connection>().as_mut()
    };
    let Some(connection) = connection else { return };
    let Some(held) = asked_for(connection.service) else { return };
    if matches!(connection.stage, Stage::Listening) {
        connection.introduced = false;
        return;
    }
    // SAFETY: the map's value. Whoever writes it writes the same.
    unsafe { *held = service::HELD };
}

/// Notes that a UDP socket belongs to its service: its role came with its first datagram, and cannot be found anew.
#[inline(always)]
pub fn observe_datagram_socket(element: *const Element) {
    // SAFETY: a field of the context.
    let socket = unsafe { (*element).socket };
    if socket.is_null() {
        // The end.
        return;
    }
    // SAFETY: storage of a socket; null or valid comes back.
    let socket = unsafe {
        bpf_sk_storage_get(DATAGRAMS.as_ptr(), socket, ptr::null_mut(), 0).cast::<DatagramSocket>().as_ref()
    };
    let Some(socket) = socket else { return };
    if let Some(held) = asked_for(socket.service) {
        // SAFETY: as above.
        unsafe { *held = service::HELD };
    }
}

/// Where to note that a service is held; none if nobody wants to know.
#[inline(always)]
fn asked_for(index: u32) -> Option<*mut u64> {
    let place = HOLDERS.get_ptr_mut(index)?;
    // SAFETY: the map's value, valid for the program's run.
    if unsafe { *place } == service::NOT_ASKED { None } else { Some(place) }
}
