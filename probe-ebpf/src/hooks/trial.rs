//! The connection engine as the socket hooks run it, over a connection in a map: for `BPF_PROG_TEST_RUN`, which gives its
//! packets a socket of no protocol. Tests and benchmarks load these programs; the agent does not.
//!
//! They are programs of TC, because before 6.10 or so a test run does not show a cgroup program its packet's bytes.

use aya_ebpf::programs::TcContext;
use probe_common::{interface::Way, reason::Reason};

use super::segment::{self, Heads};
use crate::{complaint, maps::TRIAL, packet};

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
    let tcp = packet::tcp(skb, ETHERNET_HEADER).ok_or(Reason::Unreadable)?;
    let Some(connection) = TRIAL.get_ptr_mut(0) else { return Ok(()) };
    // SAFETY: the map's value, valid for the program's run, which no other run uses.
    segment::follow(ctx, skb, unsafe { &mut *connection }, &tcp, way, Heads::Read)
}
