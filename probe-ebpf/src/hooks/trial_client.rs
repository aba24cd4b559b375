//! Clients that come and go without a connection, for tests that need more of them than there are sockets. Tests load this
//! program; the agent does not.

use aya_ebpf::programs::TcContext;
use probe_common::proxied::Counting;

use crate::{clients, maps::TRIAL};

/// The packets of TC begin with it.
const ETHERNET_HEADER: usize = 14;

/// What a packet says of a client that comes. Of one that goes it says how it was counted.
const COMES: u8 = 255;

/// Does what a packet says: 16 bytes of address, 32 bits of service, 64 of the last request's time, 8 of what is to be done. Tells
/// how the client is counted.
#[inline(always)]
pub fn observe(ctx: &TcContext) -> i32 {
    let at = |offset| ETHERNET_HEADER + offset;
    let (Ok(address), Ok(service), Ok(last_request), Ok(action)) = (
        ctx.load::<[u8; 16]>(at(0)),
        ctx.load::<u32>(at(16)),
        ctx.load::<u64>(at(20)),
        ctx.load::<u8>(at(28)),
    ) else {
        return -1;
    };
    let Some(connection) = TRIAL.get_ptr_mut(0) else { return -1 };
    // SAFETY: the map's value, valid for the program's run, which no other run uses.
    let connection = unsafe { &mut *connection };
    connection.client = address;
    connection.service = service;
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
