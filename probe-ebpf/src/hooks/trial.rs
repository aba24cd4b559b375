//! The connection engine as the socket hooks run it, over a connection in a map: for `BPF_PROG_TEST_RUN`, which gives its
//! packets a socket of no protocol. Tests and benchmarks load these programs; the agent does not.
//!
//! They are programs of TC, because before 6.10 or so a test run does not show a cgroup program its packet's bytes.

//!
//! A benchmark runs a packet many times, and would see it sent again all but the first time. So it says what a run changes
//! in the connection, and each run undoes that first; the few words only, since a copy of the whole would hide in its shadow
//! much of what is to be measured. Such a run also looks up the storage of its packet's socket, as the hooks do, so
//! that its cost is theirs.

use core::{hint::black_box, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE},
    helpers::{bpf_sk_fullsock, generated::bpf_sk_storage_get},
    programs::TcContext,
};
use probe_common::{connection::Connection, interface::Way, reason::Reason};

use super::segment::{self, Heads};
use crate::{
    complaint,
    maps::{SOCKETS, TRIAL, TRIAL_UNDO},
    packet,
};

/// The packets of TC begin with it.
const ETHERNET_HEADER: usize = 14;

/// Counts a packet to the connection in [`TRIAL`].
#[inline(always)]
pub fn observe(ctx: &TcContext, way: Way) {
    if let Err(reason) = try_observe(ctx, way) {
        complaint::count(reason);
    }
}

#[inline(always)]
fn try_observe(ctx: &TcContext, way: Way) -> Result<(), Reason> {
    let skb = ctx.skb.skb;
    let repeated = undo() != 0;
    let Some(connection) = TRIAL.get_ptr_mut(0) else { return Ok(()) };
    let Some(tcp) = packet::tcp(skb, ETHERNET_HEADER) else {
        // What a repeated run costs before its packet is looked at, is measured with one that has no IP header.
        return if repeated { Ok(()) } else { Err(Reason::Unreadable) };
    };
    if repeated {
        look_up(skb);
    }
    // SAFETY: the map's value, valid for the program's run, which no other run uses.
    segment::follow(ctx, skb, unsafe { &mut *connection }, &tcp, way, Heads::Read)
}

/// The most words of a connection that are put back.
const MOST: usize = 60;

/// What is undone before a run.
#[repr(C)]
pub struct Undo {
    /// 1 if runs are repeated.
    repeated: u64,
    /// How many words are put back.
    count: u64,
    /// Their places in the connection.
    places: [u64; MOST],
    /// Their values.
    values: [u64; MOST],
}

/// Puts back what the last run changed in the connection, if runs are repeated, and says whether they are. A global function
/// (kernel 5.6), so that the verifier does not follow all that comes behind for each number of words.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn undo() -> u64 {
    let Some(connection) = TRIAL.get_ptr_mut(0) else { return 0 };
    let Some(undo) = TRIAL_UNDO.get_ptr(0) else { return 0 };
    // SAFETY: the map's value, valid for the program's run, which no program writes.
    let undo = unsafe { &*undo };
    if undo.repeated == 0 {
        return 0;
    }
    for (i, (place, value)) in undo.places.iter().zip(&undo.values).enumerate() {
        if i as u64 >= undo.count {
            break;
        }
        let place = black_box(*place) as usize;
        if place < size_of::<Connection>() / size_of::<u64>() {
            // SAFETY: within the value, which is aligned to 8 bytes.
            unsafe { connection.cast::<u64>().add(place).write_volatile(*value) };
        }
    }
    1
}

/// Looks for the storage of a packet's socket, as the socket programs do.
#[inline(always)]
fn look_up(skb: *mut __sk_buff) {
    // SAFETY: a field of the context.
    let sk = unsafe { (*skb).__bindgen_anon_2.sk };
    if sk.is_null() {
        return;
    }
    // SAFETY: not null (kernel 5.1).
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return;
    }
    let make = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: storage of a full socket (kernel 5.2).
    let storage = unsafe { bpf_sk_storage_get(SOCKETS.as_ptr(), sk.cast(), ptr::null_mut(), make) };
    black_box(storage.is_null());
}
