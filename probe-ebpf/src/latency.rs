//! The histograms: one entry for each series and bucket in which something fell.

use probe_common::{
    bucket,
    exchange::{Exchange, LatencyCell, LatencyKey, Span},
    order::STRAIGHT,
    protocol::Protocol,
    route,
};

use crate::{
    atomic,
    maps::{DIVERTED, LATENCIES, LEAVING},
    quota,
};

/// Counts a request that has come to its end.
#[inline(always)]
pub fn record(service: u32, exchange: &Exchange) {
    let mut key = LatencyKey {
        service,
        status: exchange.status,
        bucket: 0,
        protocol: exchange.protocol as u8,
        method: exchange.method as u8,
        span: Span::Both as u8,
        route: exchange.route,
    };
    if exchange.first_byte != exchange.duration {
        // Where the whole response comes at once, one entry serves both histograms; here it takes two.
        key.span = Span::FirstByte as u8;
        key.route = route::OTHER;
        add(&mut key, exchange.first_byte, 1);
        key.span = Span::Duration as u8;
        key.route = exchange.route;
    }
    add(&mut key, exchange.duration, 1);
}

/// Counts where the time of a request went until its answer began.
#[inline(always)]
pub fn record_phases(service: u32, exchange: &Exchange) {
    let mut key = of_service(service, exchange.protocol as u8, Span::Queue);
    add(&mut key, exchange.queue, 1);
    key.span = Span::Service as u8;
    add(&mut key, exchange.service(), 1);
}

/// Counts how long answers were on their way to the client.
#[inline(always)]
pub fn record_delivery(service: u32, protocol: Protocol, nanoseconds: u64, answers: u32) {
    add(&mut of_service(service, protocol as u8, Span::Delivery), nanoseconds, u64::from(answers));
}

/// Counts a connection's round-trip time, as TCP's smoothed estimate has it: in eighths of a microsecond.
#[inline(always)]
pub fn record_round_trip(service: u32, srtt: u32) {
    add(&mut of_service(service, 0, Span::RoundTrip), u64::from(srtt >> 3) * 1000, 1);
}

/// The key of a histogram that does not tell methods and statuses apart.
#[inline(always)]
fn of_service(service: u32, protocol: u8, span: Span) -> LatencyKey {
    LatencyKey { service, protocol, span: span as u8, ..LatencyKey::default() }
}

/// Adds `count` times the same duration to the histogram that a key names, its bucket aside; counts what goes wrong.
///
/// A function of its own that returns nothing: behind each call the verifier goes on with one state, whatever happened
/// inside, and not with one for each outcome.
#[inline(never)]
fn add(key: &mut LatencyKey, nanoseconds: u64, count: u64) {
    key.bucket = bucket::of_nanoseconds(nanoseconds);
    let sum = nanoseconds.wrapping_mul(count);
    if !bump(key, sum, count) {
        quota::make(key, sum, count);
    }
}

/// Adds to an entry, if it is there; to what is put back later, if it is about to leave.
#[inline(always)]
pub fn bump(key: &LatencyKey, sum: u64, count: u64) -> bool {
    let Some(cell) = leaving(key).or_else(|| LATENCIES.get_ptr_mut(key)) else {
        return false;
    };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes. Atomically: a run in a softirq may
    // interrupt one in process context.
    unsafe {
        atomic::add(&raw mut (*cell).count, count);
        atomic::add(&raw mut (*cell).sum, sum);
    }
    true
}

/// Where to count for an entry that is about to leave. All the time but a few milliseconds in an hour this is a load of memory.
#[inline(always)]
fn leaving(key: &LatencyKey) -> Option<*mut LatencyCell> {
    // SAFETY: the map's value, valid for the program's run. It is the agent that writes it.
    if unsafe { DIVERTED.get_ptr(0)?.read_volatile() } == STRAIGHT { None } else { LEAVING.get_ptr_mut(key) }
}
