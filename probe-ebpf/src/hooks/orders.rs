//! Carries out what the agent has written into `ORDERS`, one after the other. The agent runs this program once, by
//! `BPF_PROG_TEST_RUN`: no signal ends a run, so that all of the orders are carried out or none. Kernel 5.13
//! (`bpf_for_each_map_elem`).

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::bpf_for_each_map_elem;
use probe_common::{
    exchange::LatencyKey,
    order::{Action, Order},
};

use crate::{
    latency,
    maps::{INDEX_STATES, LEAVING, ORDERS},
    quota, services,
};

/// Carries out all orders.
#[inline(always)]
pub fn carry_out_all() {
    // SAFETY: a map, and a function of the signature that the helper wants for it, which uses no context. It fails on other
    // types of maps only.
    unsafe {
        bpf_for_each_map_elem(
            ptr::from_ref(&ORDERS).cast_mut().cast(),
            carry_out_one as *mut c_void,
            ptr::null_mut(),
            0,
        )
    };
}

/// Carries out an order: 0 to go on, 1 to stop. Behind the first that is none there are no others.
extern "C" fn carry_out_one(
    _map: *mut c_void,
    _number: *const u32,
    order: *mut Order,
    _context: *mut c_void,
) -> i64 {
    // SAFETY: the map's value, valid for the program's run; the agent does not write while it has the program run.
    let order = unsafe { &mut *order };
    if order.action == Action::Nothing as u32 {
        return 1;
    }
    carry_out(order);
    order.action = Action::Nothing as u32;
    0
}

#[inline(always)]
fn carry_out(order: &Order) {
    if order.action == Action::Delete as u32 {
        quota::delete(&order.entry);
    } else if order.action == Action::Move as u32 {
        quota::delete(&order.entry);
        quota::add_regardless(&order.to, order.sum, order.count);
    } else if order.action == Action::Settle as u32 {
        settle(&order.entry);
    } else if order.action == Action::Count as u32 {
        services::add(order.entry.service, order.number, order.count);
    } else if order.action == Action::LetGo as u32 {
        let_go(order.entry.service);
    }
}

/// Notes that what a service had is elsewhere now.
#[inline(always)]
fn let_go(index: u32) {
    if let Some(state) = INDEX_STATES.get_ptr_mut(index) {
        // SAFETY: the map's value, valid for the program's run.
        unsafe { (*state).moved = 1 };
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
