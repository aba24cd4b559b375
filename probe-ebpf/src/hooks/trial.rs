//! The connection engine as the socket hooks run it, over a connection in a map: for `BPF_PROG_TEST_RUN`, which gives its
//! packets a socket of no protocol. Tests and benchmarks load these programs; the agent does not.

use aya_ebpf::programs::SkBuffContext;
use probe_common::{interface::Way, reason::Reason};

use super::segment::{self, Heads};
use crate::{complaint, maps::TRIAL, packet};

/// Counts a packet to the connection in [`TRIAL`].
#[inline(always)]
pub fn observe(ctx: &SkBuffContext, way: Way) {
    if let Err(reason) = try_observe(ctx, way) {
        complaint::count(reason);
    }
}

#[inline(always)]
fn try_observe(ctx: &SkBuffContext, way: Way) -> Result<(), Reason> {
    let tcp = packet::tcp(ctx.skb.skb).ok_or(Reason::Unreadable)?;
    let Some(connection) = TRIAL.get_ptr_mut(0) else { return Ok(()) };
    // SAFETY: the map's value, valid for the program's run, which no other run uses.
    segment::follow(ctx, unsafe { &mut *connection }, &tcp, way, Heads::Read)
}
