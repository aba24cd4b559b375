//! The histograms: one entry for each series and bucket in which something fell.

use aya_ebpf::bindings::BPF_NOEXIST;
use probe_common::{
    bucket,
    exchange::{Exchange, LatencyCell, LatencyKey, Span},
    reason::Reason,
};

use crate::{atomic, maps::LATENCIES};

/// -EEXIST
const EXISTS: i32 = -17;
/// -E2BIG
const FULL: i32 = -7;
/// -ENOMEM
const NO_MEMORY: i32 = -12;

/// Counts a request that has come to its end.
#[inline(always)]
pub fn record(service: u32, exchange: &Exchange) -> Result<(), Reason> {
    let mut key = LatencyKey {
        service,
        status: exchange.status,
        bucket: bucket::of_nanoseconds(exchange.duration),
        protocol: exchange.protocol as u8,
        method: exchange.method as u8,
        span: Span::Both as u8,
        padding: 0,
    };
    let mut result = 0;
    if exchange.first_byte == exchange.duration {
        // Where the whole response came at once, one entry serves both histograms.
        result |= add(&key, exchange.duration);
    } else {
        key.span = Span::Duration as u8;
        result |= add(&key, exchange.duration);
        key.span = Span::FirstByte as u8;
        key.bucket = bucket::of_nanoseconds(exchange.first_byte);
        result |= add(&key, exchange.first_byte);
    }
    match result {
        0 => Ok(()),
        LACKED_ROOM => Err(Reason::LatencyFull),
        _ => Err(Reason::Contended),
    }
}

/// What [`add`] returns when there was no room for an entry.
const LACKED_ROOM: u32 = 1;
/// What it returns when another CPU was in the way.
const LOST_RACE: u32 = 2;

/// Adds one to an entry; 0 if that went well.
#[inline(never)]
fn add(key: &LatencyKey, nanoseconds: u64) -> u32 {
    if bump(key, nanoseconds) {
        return 0;
    }
    let first = LatencyCell { count: 1, sum: nanoseconds };
    match LATENCIES.insert(key, first, u64::from(BPF_NOEXIST)) {
        Ok(()) => 0,
        // Another CPU made the entry in between.
        Err(EXISTS) if bump(key, nanoseconds) => 0,
        Err(FULL | NO_MEMORY) => LACKED_ROOM,
        Err(_) => LOST_RACE,
    }
}

#[inline(always)]
fn bump(key: &LatencyKey, nanoseconds: u64) -> bool {
    let Some(cell) = LATENCIES.get_ptr_mut(key) else {
        return false;
    };
    add_to(cell, nanoseconds);
    true
}

/// Adds to a cell of this CPU. Atomically: a run in a softirq may interrupt one in process context.
#[inline(always)]
fn add_to(cell: *mut LatencyCell, nanoseconds: u64) {
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    unsafe {
        atomic::add(&raw mut (*cell).count, 1);
        atomic::add(&raw mut (*cell).sum, nanoseconds);
    }
}
