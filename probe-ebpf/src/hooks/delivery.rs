//! Answers that have been delivered: those of a server's that its client has acknowledged.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use probe_common::{connection::Connection, deliveries};

use crate::latency;

/// Counts the answers that the client has now acknowledged to their last byte.
#[inline(always)]
pub fn count(connection: &mut Connection, acknowledged: u32, now: u64) {
    let mut delivering = Delivering { connection, now, acknowledged, padding: 0 };
    // SAFETY: a function of the signature that the helper wants, and a context that outlives the call (kernel 5.17).
    unsafe { bpf_loop(deliveries::DEPTH, deliver_one as *mut c_void, (&raw mut delivering).cast(), 0) };
}

/// What a round of the loop over a connection's deliveries needs.
#[repr(C)]
struct Delivering {
    connection: *mut Connection,
    now: u64,
    acknowledged: u32,
    padding: u32,
}

/// Counts the oldest answers if they are acknowledged: 0 to go on, 1 to stop.
extern "C" fn deliver_one(_index: u64, context: *mut c_void) -> i64 {
    // SAFETY: the context is the caller's `Delivering`; its connection is valid for the program's run.
    let (delivering, connection) = unsafe {
        let delivering = &*context.cast::<Delivering>();
        (delivering, &mut *delivering.connection)
    };
    let Some(delivery) = connection.deliver(delivering.acknowledged) else { return 1 };
    let time = delivering.now.saturating_sub(delivery.began);
    latency::record_delivery(connection.service, connection.protocol, time, delivery.answers);
    0
}
