//! Requests counted as if they had ended, for tests that have many CPUs, and interrupts, count at once. Tests load these
//! programs; the agent does not.

use aya_ebpf::programs::TcContext;
use probe_common::{
    exchange::Exchange,
    protocol::{Method, Protocol},
};

use crate::{atomic, latency, maps::TRIAL_COUNTED};

/// The packets of TC begin with it.
const ETHERNET_HEADER: usize = 14;

/// The services that are counted to: by test runs, and by interrupts.
const OF_RUNS: u32 = 1;
const OF_INTERRUPTS: u32 = 2;

/// Counts what a packet says: 16 bits of status, and a duration in nanoseconds.
#[inline(always)]
pub fn observe(ctx: &TcContext) {
    let (Ok(status), Ok(nanoseconds)) =
        (ctx.load::<u16>(ETHERNET_HEADER), ctx.load::<u64>(ETHERNET_HEADER + 2))
    else {
        return;
    };
    count(OF_RUNS, status, nanoseconds);
}

/// Counts a request that is another each time, and that it was told to.
#[inline(always)]
pub fn interrupt() {
    let Some(told) = TRIAL_COUNTED.get_ptr_mut(0) else { return };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    let number = unsafe {
        atomic::add(told, 1);
        told.read_volatile()
    };
    count(OF_INTERRUPTS, (number % 900) as u16 + 100, 1 << (number % 40));
}

#[inline(always)]
fn count(service: u32, status: u16, nanoseconds: u64) {
    let exchange = Exchange {
        protocol: Protocol::Http1,
        method: Method::Get,
        status,
        first_byte: nanoseconds,
        duration: nanoseconds,
        queue: 0,
        route: 0,
    };
    latency::record(service, &exchange);
}
