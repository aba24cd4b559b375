//! Which route a request has. Nothing of this is in a program that is loaded without routes: see [`are_counted`].

use aya_ebpf::bindings::BPF_NOEXIST;
use probe_common::{
    connection::Connection,
    reason::Reason,
    route::{self, RouteKey},
};

use crate::{
    atomic, complaint,
    maps::{ROUTE_COUNTS, ROUTES, ROUTES_PER_SERVICE},
    refusal::Refusal,
    scratch::Scratch,
};

/// Whether routes are counted: a constant to the verifier, which drops what is behind it if they are not.
#[inline(always)]
pub fn are_counted() -> bool {
    ROUTES_PER_SERVICE.load() != 0
}

/// Begins with the route of the request that has just begun: the line that it began with is in the window, and stays there
/// until the next step of the engine. Before that come steps of [`go_on`], in the same loop: one of its own would need more
/// stack than there is.
#[inline(always)]
pub fn begin(scratch: &mut Scratch) {
    scratch.template.begin(&scratch.window);
    scratch.task.template = 1;
}

/// Whether [`go_on`] is to be called in place of a step of the engine.
#[inline(always)]
pub fn are_due(scratch: &Scratch) -> bool {
    are_counted() && scratch.task.template != 0
}

/// Reads some more of a path, and gives the request its route at the end of it: 0 to go on with the loop, 1 to stop.
#[inline(always)]
pub fn go_on(connection: &mut Connection, scratch: &mut Scratch) -> i64 {
    read(scratch);
    if scratch.task.template != 0 {
        return 0;
    }
    note(connection, scratch);
    i64::from(scratch.step.more & 1 ^ 1)
}

/// Functions of their own that return nothing, as [`crate::latency`] has it.
#[inline(never)]
fn read(scratch: &mut Scratch) {
    scratch.task.template = u32::from(scratch.template.step(&scratch.window));
}

#[inline(never)]
fn note(connection: &mut Connection, scratch: &mut Scratch) {
    let has_one = scratch.template.name(connection.service, &mut scratch.route);
    let index = if has_one { intern(scratch) } else { route::OTHER };
    connection.pending.route_last(index);
}

/// The index of a route, a new one if it is seen for the first time; [`route::OTHER`] if there is no room.
#[inline(always)]
fn intern(scratch: &mut Scratch) -> u8 {
    let known = index_of(&scratch.route);
    if known != route::OTHER {
        return known;
    }
    match add(&scratch.route) {
        Ok(index) => index,
        Err(reason) => {
            complaint::count(reason);
            scratch.task.escaped = reason as u32 + 1;
            route::OTHER
        }
    }
}

#[inline(always)]
fn index_of(key: &RouteKey) -> u8 {
    match ROUTES.get_ptr(key) {
        // SAFETY: the map's value, valid for the program's run.
        Some(index) => (unsafe { *index }) as u8,
        None => route::OTHER,
    }
}

/// Gives a route the next index of its service. Of several CPUs that see it first, one wins. An index that finds no use is
/// given back unless another CPU has had the next one meanwhile: then it stays without a route, for the life of the service.
#[inline(always)]
fn add(key: &RouteKey) -> Result<u8, Reason> {
    let most = u64::from(ROUTES_PER_SERVICE.load());
    let Some(count) = ROUTE_COUNTS.get_ptr_mut(key.service) else { return Err(Reason::RoutesFull) };
    // SAFETY: the map's value, valid for the program's run, aligned to 8 bytes.
    if unsafe { *count } >= most {
        return Err(Reason::RoutesFull);
    }
    // SAFETY: as above.
    let index = unsafe { atomic::fetch_add(count, 1) } + 1;
    let mut reason = Reason::RoutesFull;
    if index <= most {
        match ROUTES.insert(key, index as u32, u64::from(BPF_NOEXIST)) {
            Ok(()) => return Ok(index as u8),
            Err(error) => reason = Refusal::of(error).reason(reason),
        }
    }
    // SAFETY: as above.
    unsafe { atomic::replace(count, index, index - 1) };
    match index_of(key) {
        route::OTHER => Err(reason),
        index => Ok(index),
    }
}
