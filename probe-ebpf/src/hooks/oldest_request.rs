//! The oldest request of each service.

use super::socket_iterator::{Element, stored};
use crate::maps::{OLDEST_REQUESTS, SOCKETS};

/// Keeps the time of the socket's oldest request, if it is its service's oldest.
#[inline(always)]
pub fn observe(element: *const Element) {
    let Some(connection) = stored(element, &SOCKETS) else { return };
    let Some(started) = connection.pending.oldest(connection.last_request) else { return };
    let Some(oldest) = OLDEST_REQUESTS.get_ptr_mut(connection.service) else { return };
    // SAFETY: the map's value; only this program writes it while an iteration runs, and iterations are the agent's.
    unsafe {
        if *oldest == 0 || started < *oldest {
            *oldest = started;
        }
    }
}
