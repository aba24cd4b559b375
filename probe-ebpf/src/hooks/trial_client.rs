//! Clients that come and go without a connection, for tests that need more of them than there are sockets. Tests load this
//! program; the agent does not.

use aya_ebpf::programs::TcContext;
use probe_common::proxied::Counting;

use crate::{clients, maps::TRIAL};

/// The packets of TC begin with it.
const ETHERNET_HEADER: usize = 14;

/// What a packet says of a client that comes. Of one that goes it says how it was counted.
const COMES: u64 = 255;

/// Does what a packet says, in words of eight bytes: two of address, then service, time of the last request, and what is to be
/// done. Tells how the client is counted.
#[inline(always)]
pub fn observe(ctx: &TcContext) -> i32 {
    let word = |number: usize| ctx.load::<u64>(ETHERNET_HEADER + 8 * number);
    let (Ok(first), Ok(second), Ok(service), Ok(last_request), Ok(action)) =
        (word(0), word(1), word(2), word(3), word(4))
    else {
        return -1;
    };
    let Some(connection) = TRIAL.get_ptr_mut(0) else { return -1 };
    // SAFETY: the map's value, valid for the program's run, which no other run uses.
    let connection = unsafe { &mut *connection };
    // SAFETY: two words have the size of the address.
    unsafe { (&raw mut connection.client).cast::<[u64; 2]>().write_unaligned([first, second]) };
    connection.service = service as u32;
    connection.last_request = last_request;
    connection.counting = match action {
        1 => Counting::Sampled,
        2 => Counting::ByRequest,
        3 => Counting::LeftOut,
        _ => Counting::Connected,
    };
    if action == COMES {
        clients::arrive(connection);
    } else {
        clients::leave(connection);
    }
    connection.counting as i32
}
