//! The clients of services: who is connected.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_ktime_get_ns};
use probe_common::{
    connection::Connection,
    proxied::Counting,
    reason::Reason,
    sample::{self, SampledClient},
    user::{Client, ClientKey},
};

use crate::{
    atomic, complaint,
    maps::{CLIENTS, SAMPLE_SEED, SAMPLED, SAMPLED_ENTRIES, SAMPLED_TOTAL},
    refusal::Refusal,
};

/// A client has connected.
#[inline(always)]
pub fn arrive(connection: &mut Connection) {
    let key = ClientKey { address: connection.client, service: connection.service };
    if !enter(&key, 1, 0) {
        connection.counting = if sample(&key, 1, 0) { Counting::Sampled } else { Counting::LeftOut };
    }
}

/// A client's connection has closed.
#[inline(always)]
pub fn leave(connection: &Connection) {
    let key = ClientKey { address: connection.client, service: connection.service };
    match connection.counting {
        // No entry: the agent forgot it, or a reset socket leaves twice.
        Counting::Connected => _ = add(&key, -1, connection.last_request),
        Counting::Sampled => _ = add_to_sample(&key, -1, connection.last_request, u64::MAX),
        // What its client has in the tables, if anything, is of other connections; or its clients were entered as they asked.
        Counting::LeftOut | Counting::ByRequest => {}
    }
}

/// A client without a connection has sent something: it is a user for as long as the window from now on.
#[inline(always)]
pub fn hear(key: &ClientKey) {
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if !enter(key, 0, now) {
        sample(key, 0, now);
    }
}

/// Enters a client that has so many more connections, or none but a request at that time: it is a user for as long as the
/// window from then on. False if it found no place, which has been counted, and the caller is to try [`sample`]: not this
/// function, as two within each other are more than the stack has room for.
#[inline(never)]
pub fn enter(key: &ClientKey, connections: i64, last_request: u64) -> bool {
    if add(key, connections, last_request) {
        return true;
    }
    let client = Client { open: connections, last_request };
    let Err(error) = CLIENTS.insert(key, client, u64::from(BPF_NOEXIST)) else { return true };
    let refusal = Refusal::of(error);
    if matches!(refusal, Refusal::LostRace) && add(key, connections, last_request) {
        return true;
    }
    complaint::count(refusal.reason(Reason::ClientsFull));
    false
}

/// Enters a client that found no place into the sample, if it is one of those that stand for the others: see
/// [`probe_common::sample`]. False if it is not in the sample.
///
/// Another CPU may admit a member between the look at the numbers of members and the addition to them, and the agent may
/// write what it has counted over such an addition. Then a level is a little too low until the agent's next pass sets the
/// numbers right. A member keeps the level that it was admitted at, so the estimate is not affected.
#[inline(never)]
pub fn sample(key: &ClientKey, connections: i64, last_request: u64) -> bool {
    let Some(of_service) = SAMPLED_ENTRIES.get_ptr_mut(key.service) else { return false };
    let Some(of_all) = SAMPLED_TOTAL.get_ptr_mut(0) else { return false };
    // SAFETY: the maps' values, valid for the program's run, aligned to 8 bytes.
    let level = unsafe { sample::level(of_service.read_volatile(), of_all.read_volatile()) };
    // A member of a lower level is one still.
    if add_to_sample(key, connections, last_request, level) {
        return true;
    }
    if !sample::is_member(&key.address, SAMPLE_SEED.load(), level) {
        return false;
    }
    let member = SampledClient { client: Client { open: connections, last_request }, level };
    let Err(error) = SAMPLED.insert(key, member, u64::from(BPF_NOEXIST)) else {
        // SAFETY: as above.
        unsafe {
            atomic::add(of_service, 1);
            atomic::add(of_all, 1);
        }
        return true;
    };
    let refusal = Refusal::of(error);
    if matches!(refusal, Refusal::LostRace) && add_to_sample(key, connections, last_request, level) {
        return true;
    }
    // With it, all that it would have counted for are missing.
    complaint::count_many(refusal.reason(Reason::SampleFull), member.weight());
    false
}

#[inline(always)]
fn add(key: &ClientKey, connections: i64, last_request: u64) -> bool {
    let Some(client) = CLIENTS.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    unsafe { add_to(client, connections, last_request) };
    true
}

/// Adds to a member of the sample, if it is one. One that comes again takes the level of now if that is lower: all others
/// that come now are chosen by that.
#[inline(always)]
fn add_to_sample(key: &ClientKey, connections: i64, last_request: u64, level: u64) -> bool {
    let Some(member) = SAMPLED.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes. If two CPUs lower the level at once, either's
    // will do.
    unsafe {
        add_to(&raw mut (*member).client, connections, last_request);
        if level < (*member).level {
            (*member).level = level;
        }
    }
    true
}

/// # Safety
/// `client` points into a map's value, aligned to 8 bytes.
#[inline(always)]
unsafe fn add_to(client: *mut Client, connections: i64, last_request: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        atomic::add((&raw mut (*client).open).cast(), connections.cast_unsigned());
        if (*client).last_request < last_request {
            (*client).last_request = last_request;
        }
    }
}
