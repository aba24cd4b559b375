//! Entries of histograms that are not there yet: how many of them a service may have. Nothing of this is in the way of an
//! entry that is there.

use aya_ebpf::bindings::BPF_NOEXIST;
use probe_common::{
    exchange::{LatencyCell, LatencyKey, Span},
    reason::Reason,
};

use crate::{
    atomic, complaint, latency,
    maps::{LATENCIES, SERIES_QUOTA, SERVICE_ENTRIES},
    refusal::Refusal,
};

/// What a series adds to the number of its service's entries: its sign is one, and the upper half counts series.
const SERIES: u64 = 1 << 32 | 1;

/// What an entry adds to it, or takes away when it goes.
#[inline(always)]
fn weight(key: &LatencyKey) -> u64 {
    if key.span == Span::Admission as u8 { SERIES } else { u64::from(key.takes_quota()) }
}

/// Deletes an entry, and gives its room back to its service.
#[inline(always)]
pub fn delete(key: &LatencyKey) {
    if LATENCIES.remove(key).is_ok()
        && let Some(held) = SERVICE_ENTRIES.get_ptr_mut(key.service)
    {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe { atomic::add(held, weight(key).wrapping_neg()) };
    }
}

/// Adds to an entry that is made if it is not there, whatever room its service has.
#[inline(always)]
pub fn add_regardless(key: &LatencyKey, sum: u64, count: u64) {
    if !latency::bump(key, sum, count)
        && let Some(held) = SERVICE_ENTRIES.get_ptr_mut(key.service)
    {
        insert(key, held, sum, count);
    }
}

/// Makes an entry if its service has room, or adds to the one that stands for all that have found none; counts what goes
/// wrong. The key is what it was afterwards: there is one for all questions, since the stack has no room for another.
#[inline(always)]
pub fn make(key: &mut LatencyKey, sum: u64, count: u64) {
    let Some(held) = SERVICE_ENTRIES.get_ptr_mut(key.service) else { return };
    let (status, method, route) = (key.status, key.method, key.route);
    let turned_away = key.is_chosen() && !has_room(key, held, LatencyCell { count, sum });
    if turned_away {
        if key.span != Span::FirstByte as u8 {
            // Once for each request, of which a first byte may be the other entry.
            complaint::count_many(Reason::ServiceSeriesFull, count);
        }
        key.overflow();
    }
    if !turned_away || !latency::bump(key, sum, count) {
        insert(key, held, sum, count);
    }
    (key.status, key.method, key.route) = (status, method, route);
}

/// Whether there is room for an entry. A series that has been admitted may have as many as the quota has left; a new one
/// is admitted while there are fewer than a sixteenth of it: so a flood of methods, statuses and routes leaves room for the
/// durations of those that were there before it.
#[inline(always)]
fn has_room(key: &mut LatencyKey, held: *mut u64, any: LatencyCell) -> bool {
    let quota = SERIES_QUOTA.load();
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    let count = unsafe { held.read_volatile() };
    if count as u32 >= quota {
        return false;
    }
    let (span, bucket) = (key.span, key.bucket);
    (key.span, key.bucket) = (Span::Admission as u8, 0);
    let sign: &LatencyKey = key;
    let mut admitted = LATENCIES.get_ptr_mut(sign).is_some();
    if !admitted && (count >> 32) < u64::from(quota / 16) {
        admitted = true;
        // Another CPU may be faster, and where the table is full, the entry itself will tell. What is in it is not read.
        if LATENCIES.insert(sign, any, u64::from(BPF_NOEXIST)).is_ok() {
            // SAFETY: as above.
            unsafe { atomic::add(held, SERIES) };
        }
    }
    (key.span, key.bucket) = (span, bucket);
    admitted
}

#[inline(always)]
fn insert(key: &LatencyKey, held: *mut u64, sum: u64, count: u64) {
    let Err(error) = LATENCIES.insert(key, LatencyCell { count, sum }, u64::from(BPF_NOEXIST)) else {
        // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
        return unsafe { atomic::add(held, weight(key)) };
    };
    let refusal = Refusal::of(error);
    if !matches!(refusal, Refusal::LostRace) || !latency::bump(key, sum, count) {
        complaint::count_many(refusal.reason(Reason::LatencyFull), count);
    }
}
