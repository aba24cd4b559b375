//! `iter/bpf_map_elem`: carries out what the agent has written into `ORDERS`, one after the other, in one run that nobody
//! interrupts. Kernel 5.9.

use core::ffi::c_void;

use probe_common::{
    exchange::LatencyKey,
    order::{Deed, Order},
    service,
};

use crate::{
    latency,
    maps::{HOLDERS, LEAVING, ORDERS},
    quota, services,
};

/// What the iterator hands over: `struct bpf_iter__bpf_map_elem` (`kernel/bpf/map_iter.c`), whose members are eight bytes
/// each by definition (`__bpf_md_ptr`).
#[repr(C)]
pub struct Element {
    meta: *mut c_void,
    map: *mut c_void,
    /// The element's number; null behind the last.
    key: *const u32,
    value: *mut c_void,
}

/// Carries out an order.
#[inline(always)]
pub fn observe(element: *const Element) {
    // SAFETY: a field of the context.
    let key = unsafe { (*element).key };
    if key.is_null() {
        return;
    }
    // SAFETY: the kernel's, as long as the map's keys.
    let Some(order) = ORDERS.get_ptr_mut(unsafe { key.read_volatile() }) else { return };
    // SAFETY: the map's value, valid for the program's run; the agent does not write while it has the program run.
    let order = unsafe { &mut *order };
    carry_out(order);
    order.deed = Deed::Nothing as u32;
}

#[inline(always)]
fn carry_out(order: &Order) {
    if order.deed == Deed::Delete as u32 {
        quota::delete(&order.entry);
    } else if order.deed == Deed::Move as u32 {
        quota::delete(&order.entry);
        quota::add_regardless(&order.to, order.sum, order.count);
    } else if order.deed == Deed::Settle as u32 {
        settle(&order.entry);
    } else if order.deed == Deed::Count as u32 {
        services::add(order.entry.service, order.number, order.count);
    } else if order.deed == Deed::LetGo as u32 {
        let_go(order.entry.service);
    }
}

/// Notes that what a service had is elsewhere now.
#[inline(always)]
fn let_go(index: u32) {
    if let Some(place) = HOLDERS.get_ptr_mut(index) {
        // SAFETY: the map's value, valid for the program's run.
        unsafe { *place = service::GONE };
    }
}

/// Puts back what was counted for an entry while it was leaving, which no program does any more.
#[inline(always)]
fn settle(entry: &LatencyKey) {
    let Some(diverted) = LEAVING.get_ptr(entry) else { return };
    // SAFETY: the map's value, valid for the program's run.
    let (count, sum) = unsafe { ((*diverted).count, (*diverted).sum) };
    if count > 0 && !latency::bump(entry, sum, count) {
        let mut key = *entry;
        quota::make(&mut key, sum, count);
    }
    // It is there.
    let _ = LEAVING.remove(entry);
}
