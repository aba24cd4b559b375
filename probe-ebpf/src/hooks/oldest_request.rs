//! The oldest request of each service, and the clients that are in the estimates for as long as they are connected.

use probe_common::{connection::Stage, proxied::Counting, user::ClientKey};

use super::socket_iterator::{Element, stored};
use crate::{
    clients,
    maps::{OLDEST_REQUESTS, SOCKETS},
};

/// Keeps the time of the socket's oldest request, if it is its service's oldest, and its client in the estimate, if that is
/// where it is counted.
#[inline(always)]
pub fn observe(element: *const Element) {
    let Some(connection) = stored(element, &SOCKETS) else { return };
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
