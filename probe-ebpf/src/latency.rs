//! The histograms: one entry for each series and bucket in which something fell.

use aya_ebpf::bindings::BPF_NOEXIST;
use probe_common::{
    bucket,
    exchange::{Exchange, LatencyCell, LatencyKey, Span},
    protocol::Protocol,
    reason::Reason,
    route,
};

use crate::{
    atomic, complaint,
    maps::{LATENCIES, SERIES_QUOTA, SERVICE_ENTRIES},
};

/// -EEXIST
const EXISTS: i32 = -17;
/// -E2BIG
const FULL: i32 = -7;
/// -ENOMEM
const NO_MEMORY: i32 = -12;

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
        let mut first = LatencyKey { span: Span::FirstByte as u8, route: route::OTHER, ..key };
        add(&mut first, exchange.first_byte, 1);
        key.span = Span::Duration as u8;
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
/// The key may be another one afterwards.
///
/// A function of its own that returns nothing: behind each call the verifier goes on with one state, whatever happened
/// inside, and not with one for each outcome.
#[inline(never)]
fn add(key: &mut LatencyKey, nanoseconds: u64, count: u64) {
    key.bucket = bucket::of_nanoseconds(nanoseconds);
    let sum = nanoseconds.wrapping_mul(count);
    if !bump(key, sum, count) {
        make(key, sum, count);
    }
}

/// The same for an entry that is not there: makes it, if its service has room, or goes to the one that stands for all
/// that have found none.
#[inline(never)]
fn make(key: &mut LatencyKey, sum: u64, count: u64) {
    let Some(entries) = SERVICE_ENTRIES.get_ptr_mut(key.service) else { return };
    if key.is_chosen() && !has_room(key, entries) {
        if key.span != Span::FirstByte as u8 {
            // Once for each request, of which a first byte may be the other entry.
            complaint::count_many(Reason::ServiceSeriesFull, count);
        }
        *key = key.overflow();
        if bump(key, sum, count) {
            return;
        }
    }
    match LATENCIES.insert(*key, LatencyCell { count, sum }, u64::from(BPF_NOEXIST)) {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        Ok(()) => unsafe { atomic::add(entries, 1) },
        // Another CPU made the entry in between.
        Err(EXISTS) if bump(key, sum, count) => {}
        Err(FULL | NO_MEMORY) => complaint::count_many(Reason::LatencyFull, count),
        Err(_) => complaint::count_many(Reason::Contended, count),
    }
}

/// Whether there is room for an entry: a series that is there may use all of the quota, one that is not yet half of it.
/// So a flood of methods and statuses finds no room where those that were there before it still do.
#[inline(always)]
fn has_room(key: &LatencyKey, entries: *mut u64) -> bool {
    let quota = u64::from(SERIES_QUOTA.load());
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    let held = unsafe { entries.read_volatile() };
    if held >= quota {
        return false;
    }
    let admission = key.admission();
    if LATENCIES.get_ptr_mut(admission).is_some() {
        return true;
    }
    if held >= quota / 2 {
        return false;
    }
    // Another CPU may be faster, and where the table is full, the entry itself will tell.
    if LATENCIES.insert(admission, LatencyCell::default(), u64::from(BPF_NOEXIST)).is_ok() {
        // SAFETY: as above.
        unsafe { atomic::add(entries, 1) };
    }
    true
}

#[inline(always)]
fn bump(key: &LatencyKey, sum: u64, count: u64) -> bool {
    let Some(cell) = LATENCIES.get_ptr_mut(key) else {
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
