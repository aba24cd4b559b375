//! Which services sockets belong to, of those that the agent wants to take away.

use probe_common::{connection::Stage, datagram::Standing, service};

use super::socket_iterator::{Element, stored};
use crate::maps::{DATAGRAMS, HOLDERS, SOCKETS};

/// Notes that a TCP socket belongs to its service. One that listens does not hold it: it finds it anew with its next
/// connection, under the index that the service has by then.
#[inline(always)]
pub fn observe_connection(element: *const Element) {
    let Some(connection) = stored(element, &SOCKETS) else { return };
    let Some(held) = asked_for(connection.service) else { return };
    if matches!(connection.stage, Stage::Listening) {
        connection.introduced = false;
        return;
    }
    // SAFETY: the map's value. Whoever writes it writes the same.
    unsafe { *held = service::HELD };
}

/// Has a UDP socket find its service anew with its next datagram, as one that listens: its role, which came with its first
/// one, and its port it keeps.
#[inline(always)]
pub fn observe_datagram_socket(element: *const Element) {
    let Some(socket) = stored(element, &DATAGRAMS) else { return };
    if matches!(socket.standing, Standing::Introduced) && asked_for(socket.service).is_some() {
        socket.standing = Standing::Released;
    }
}

/// Where to note that a service is held; none if nobody wants to know.
#[inline(always)]
fn asked_for(index: u32) -> Option<*mut u64> {
    let place = HOLDERS.get_ptr_mut(index)?;
    // SAFETY: the map's value, valid for the program's run.
    if unsafe { *place } == service::NOT_ASKED { None } else { Some(place) }
}
