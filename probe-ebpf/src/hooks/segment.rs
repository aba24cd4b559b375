//! A segment of a connection: what it adds to the service's counters, and what begins or ends in it.

use core::{ffi::c_void, hint::black_box};

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::{bpf_ktime_get_ns, bpf_loop, generated::bpf_skb_load_bytes},
};
use probe_common::{
    connection::{Connection, Segment, Side, Stage},
    counters::Progress,
    exchange::{CANCELLED, Exchange},
    interface::Way,
    protocol::Protocol,
    proxied::Counting,
    reason::Reason,
    service::Role,
    window::{CARRY, Payload, READ, SIZE, Unreadable},
};

use super::{delivery, lock};
use crate::{
    ages, atomic, clients, complaint, latency,
    maps::READS_ARE_TOLD,
    packet::Tcp,
    proxies::{self, Kept},
    routes,
    scratch::{self, Flags, Scratch, Task},
    services,
    volume::{self, Volume},
};

/// What a program does with the heads of messages.
#[derive(Clone, Copy)]
pub enum Heads {
    /// Reads them, by `bpf_loop`: a packet may have as many as it likes.
    Read,
    /// Passes over them.
    PassOver,
}

/// The most lines and jumps that are read in a packet: 64 KiB of pipelined requests of the shortest kind.
const STEPS: u32 = 32_768;

/// Counts a segment to its connection's service, and reads what begins or ends in it.
#[inline(always)]
pub fn follow(
    ctx: &impl EbpfContext,
    skb: *mut __sk_buff,
    connection: &mut Connection,
    tcp: &Tcp,
    way: Way,
    heads: Heads,
) -> Result<(), Reason> {
    // The kernels that have no heads read have no exchange either.
    if matches!(way, Way::Transmit) || matches!(heads, Heads::PassOver) {
        return follow_alone(ctx, skb, connection, tcp, way, heads);
    }
    lock::take(connection)?;
    let followed = follow_alone(ctx, skb, connection, tcp, way, heads);
    lock::give_back(connection);
    followed
}

/// Which direction of a connection goes that way.
#[inline(always)]
pub fn side(connection: &Connection, way: Way) -> Side {
    if (connection.role == Role::Server as u8) == matches!(way, Way::Receive) {
        Side::Request
    } else {
        Side::Response
    }
}

#[inline(always)]
fn follow_alone(
    ctx: &impl EbpfContext,
    skb: *mut __sk_buff,
    connection: &mut Connection,
    tcp: &Tcp,
    way: Way,
    heads: Heads,
) -> Result<(), Reason> {
    let segment = Segment {
        side: side(connection, way),
        sequence: tcp.sequence,
        length: tcp.length,
        acknowledged: tcp.acknowledged,
        fin: tcp.fin,
    };
    let mut volume = Volume::of(skb, tcp.total, tcp.offset);
    let (mut due, mut delivers) = (false, false);
    // Data with a SYN (TCP Fast Open) is the start of what the client says, whatever becomes of it.
    let fast = tcp.syn && tcp.length > 0 && matches!(connection.stage, Stage::Connecting);
    if fast && !connection.request.seen {
        connection.request.begin_at(tcp.sequence);
    }
    if fast || matches!(connection.stage, Stage::Open | Stage::Joined) {
        let accepted = connection.accept(&segment);
        volume.fresh = u64::from(accepted.fresh);
        volume.again = accepted.again;
        if let Some(reason) = accepted.lost {
            complaint::count(reason);
        }
        due = accepted.due;
        delivers = connection.delivers(&segment);
    } else if tcp.syn && matches!(connection.stage, Stage::Connecting) {
        // Before it is established, an end has another meaning: that it was asked for.
        volume.again = connection.ended[0];
        connection.ended[0] = true;
    }
    volume.reset = tcp.rst && !connection.is_reset() && !matches!(connection.stage, Stage::Connecting);
    connection.note_end(segment.side, false, tcp.rst);
    volume::count(connection.service, way, &volume);
    if !due && !delivers {
        return Ok(());
    }
    let now = time(skb, way);
    if delivers && matches!(heads, Heads::Read) {
        delivery::count(connection, tcp.acknowledged.unwrap_or(0), now);
    }
    if !due {
        return Ok(());
    }
    let at = At { offset: tcp.offset, now };
    let read = read(ctx, skb, connection, &segment, at, heads, Kept::WithSocket)?;
    let protocol = connection.protocol.measured();
    if read.began != 0 {
        begin(connection.service, protocol, read.began);
    }
    if read.ended != 0 {
        end(connection.service, protocol, read.ended);
    }
    Ok(())
}

/// The time of a packet, in nanoseconds of the monotonic clock.
///
/// TCP stamps what it sends with the time at which it decided to (`tcp_wstamp_ns`, kernel 4.20): the same clock, read a
/// microsecond before, and for less than a third of what it costs to read it again. A paced packet bears the time at
/// which it is to leave.
#[inline(always)]
fn time(skb: *mut __sk_buff, way: Way) -> u64 {
    if matches!(way, Way::Transmit) {
        // SAFETY: a field of the context (kernel 5.0).
        let stamp = unsafe { (&raw const (*skb).tstamp).read_volatile() };
        if stamp != 0 {
            return stamp;
        }
    }
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Adds a segment to a service whose content belongs to no connection yet.
#[inline(always)]
pub fn count_packet(skb: *mut __sk_buff, service: u32, tcp: &Tcp, way: Way) {
    volume::count(service, way, &Volume::of(skb, tcp.total, tcp.offset));
}

/// The pointers that a step of the loop needs. What else it needs is in the scratch: what lies in a map is unknown to
/// the verifier, so that it looks at a step once and not once for each value that the caller can have put there.
#[repr(C)]
struct Reading {
    connection: *mut Connection,
    scratch: *mut Scratch,
    skb: *mut __sk_buff,
}

/// Payload in an skb, linear or in fragments.
struct SkbPayload {
    skb: *mut __sk_buff,
    offset: u32,
}

impl Payload for SkbPayload {
    #[inline(always)]
    fn read(&self, offset: u32, length: u32, to: &mut [u8; SIZE]) -> Result<(), Unreadable> {
        // 1..=READ it is; the verifier wants to see it.
        let length = (length.wrapping_sub(1) & (READ as u32 - 1)) + 1;
        // SAFETY: `READ` bytes fit behind `CARRY` (kernel 5.10 for cgroup_skb).
        let failed = unsafe {
            bpf_skb_load_bytes(
                self.skb.cast(),
                self.offset + offset,
                to.as_mut_ptr().add(CARRY).cast::<c_void>(),
                length,
            )
        };
        if failed == 0 { Ok(()) } else { Err(Unreadable) }
    }
}

/// Requests that began and ended in a segment.
pub struct Read {
    /// Those that began.
    pub began: u32,
    /// Those that are in flight no more.
    pub ended: u32,
    /// One more than the last reason for which something escaped; 0 if nothing did.
    pub escaped: u32,
}

/// Where the payload of a segment is in its packet, and when that came.
#[derive(Clone, Copy)]
pub struct At {
    /// In bytes.
    pub offset: u32,
    /// In nanoseconds of the monotonic clock.
    pub now: u64,
}

/// Reads what begins or ends in a segment. `kept` is where that is which is known of a proxy's connection.
#[inline(always)]
pub fn read(
    ctx: &impl EbpfContext,
    skb: *mut __sk_buff,
    connection: &mut Connection,
    segment: &Segment,
    at: At,
    heads: Heads,
    kept: Kept,
) -> Result<Read, Reason> {
    if matches!(heads, Heads::PassOver) {
        connection.protocol = Protocol::Opaque;
        complaint::count(Reason::KernelTooOld);
        if proxies::speak_on(connection) {
            connection.counting = Counting::Connected;
            enter_client(connection);
        }
        return Ok(Read { began: 0, ended: 0, escaped: 0 });
    }
    let service = connection.service;
    let scratch = scratch::take().ok_or(Reason::NoBuffer)?;
    // Not known to be zero, or the compiler would call a loop over bytes.
    let zero = black_box(0);
    // SAFETY: a slot that is this run's own until it is given back.
    unsafe {
        (*scratch).task = Task {
            now: at.now,
            offset: at.offset,
            sequence: segment.sequence,
            length: segment.length,
            fin: u32::from(segment.fin),
            escaped: zero,
            began: zero,
            ended: zero,
            template: zero,
            spoken_for: u32::from(proxies::speak_on(connection)),
            asked: zero,
            early: u32::from(matches!(kept, Kept::Early)),
        };
    }
    if proxies::may_tell(connection, segment.side) {
        proxies::bring(skb, scratch, kept);
    }
    let mut reading = Reading { connection, scratch, skb };
    let context = (&raw mut reading).cast();
    let steps = match segment.side {
        Side::Request => run(step_request, context, |steps| steps),
        Side::Response => run(step_response, context, black_box),
    };
    // SAFETY: as above.
    let (escaped, began, ended) =
        unsafe { ((*scratch).task.escaped, (*scratch).task.began, (*scratch).task.ended) };
    if proxies::are_configured() {
        // SAFETY: as above.
        let spoken_for = unsafe { (*scratch).task.spoken_for } != 0;
        if spoken_for && !proxies::speak_on(connection) {
            enter_client(connection);
        } else if spoken_for && matches!(segment.side, Side::Request) {
            proxies::keep(skb, scratch, kept);
        }
    }
    scratch::give_back(scratch);
    if escaped != 0 && !matches!(kept, Kept::Early) {
        // It has been counted where it happened.
        complaint::say(ctx, escaped - 1, service);
    }
    if steps >= i64::from(STEPS) {
        complaint::count(Reason::PacketTooDense);
    }
    Ok(Read { began, ended, escaped })
}

/// Runs the steps of a loop, and says how many.
///
/// A call with one function only is made a loop by the kernel, without a call by pointer (kernel 6.0, 1ade23711971). So it is
/// inlined for each of the functions, and what is done `behind` it differs, or the compiler would make one call of both.
#[inline(always)]
fn run(step: Step, context: *mut c_void, behind: impl FnOnce(i64) -> i64) -> i64 {
    // SAFETY: a function of the signature that the helper wants, and a context that outlives the call.
    behind(unsafe { bpf_loop(STEPS, step as *mut c_void, context, 0) })
}

/// The client of a proxy's connection is known now, and will not change: enters it, unless the connection is yet to come.
#[inline(never)]
fn enter_client(connection: &mut Connection) {
    if connection.introduced {
        clients::arrive(connection);
    }
}

/// Notes requests that began.
#[inline(always)]
pub fn begin(service: u32, protocol: usize, requests: u32) {
    if let Some(progress) = progress(service, protocol) {
        // SAFETY: within the map's value, valid for the program's run, aligned to 8 bytes.
        unsafe { atomic::add(&raw mut (*progress).began, u64::from(requests)) };
    }
}

/// Notes requests that are in flight no more.
#[inline(always)]
pub fn end(service: u32, protocol: usize, requests: u32) {
    if let Some(progress) = progress(service, protocol) {
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*progress).ended, u64::from(requests)) };
    }
}

#[inline(always)]
fn progress(service: u32, protocol: usize) -> Option<*mut Progress> {
    let counters = services::counters(service)?;
    let protocol = if protocol < Protocol::MEASURED.len() { protocol } else { 0 };
    // SAFETY: an index in bounds of the field.
    Some(unsafe { (&raw mut (*counters).progress).cast::<Progress>().add(protocol) })
}

/// A step of a loop: its number, and what the loop was given.
type Step = extern "C" fn(u64, *mut c_void) -> i64;

/// A step of the loop over what a client said: 0 to go on, 1 to stop. A function for each side: with the side as a
/// variable, the verifier would follow every combination of what it can be wherever it is looked at.
extern "C" fn step_request(_index: u64, context: *mut c_void) -> i64 {
    step(context, Side::Request)
}

/// A step of the loop over what a server said.
extern "C" fn step_response(_index: u64, context: *mut c_void) -> i64 {
    step(context, Side::Response)
}

#[inline(always)]
fn step(context: *mut c_void, side: Side) -> i64 {
    // SAFETY: the context is the caller's `Reading`; its pointers are valid for the program's run.
    let (reading, connection, scratch) = unsafe {
        let reading = &*context.cast::<Reading>();
        (reading, &mut *reading.connection, &mut *reading.scratch)
    };
    if matches!(side, Side::Request) && routes::are_due(scratch) {
        return routes::go_on(connection, scratch);
    }
    let task = &scratch.task;
    let segment = Segment {
        side,
        sequence: task.sequence,
        length: task.length,
        acknowledged: None,
        fin: task.fin != 0,
    };
    let now = task.now;
    let payload = SkbPayload { skb: reading.skb, offset: task.offset };
    let step = connection.step(&segment, now, &mut scratch.window, &payload);
    // By way of memory: the verifier then follows what comes next once, and not once for each way through the engine.
    if let Some(exchange) = step.exchange {
        scratch.exchange = exchange;
    }
    scratch.step = Flags {
        exchange: u8::from(step.exchange.is_some()),
        more: u8::from(step.more),
        began: u8::from(step.began),
        ended: u8::from(step.ended),
        escaped: step.unmeasured.map_or(0, |reason| reason as u32 + 1),
    };
    let (step, exchange) = black_box((&scratch.step, &scratch.exchange));
    if step.exchange != 0 {
        record(connection, exchange);
    }
    let escaped = step.escaped;
    if escaped != 0 {
        if scratch.task.early == 0 {
            complaint::count_number(escaped - 1);
        }
        scratch.task.escaped = escaped;
    }
    scratch.task.began += u32::from(step.began);
    scratch.task.ended += u32::from(step.ended);
    if step.ended != 0 {
        ages::end(connection.service, connection.pending.start_of_removed());
    }
    if step.began != 0 && scratch.task.early == 0 {
        ages::begin(connection.service, connection.last_request, 1);
    }
    let (began, more) = (step.began, step.more);
    if proxies::may_tell(connection, side) {
        proxies::note_step(connection, scratch);
        if scratch.task.asked != 0 && !clients::enter(&scratch.client, 0, connection.request.started) {
            clients::sample(&scratch.client, 0, connection.request.started);
        }
    }
    if matches!(side, Side::Request) && routes::are_counted() && began != 0 {
        routes::begin(scratch);
        return 0;
    }
    i64::from(more & 1 ^ 1)
}

/// Counts a request that has come to its end, and where its time went if this is the end that knows.
#[inline(always)]
pub fn record(connection: &Connection, exchange: &Exchange) {
    latency::record(connection.service, exchange);
    // How long a client that left would have waited for the service is not known.
    let waited = exchange.status != CANCELLED;
    if connection.role == Role::Server as u8 && waited && READS_ARE_TOLD.load() != 0 {
        latency::record_phases(connection.service, exchange);
    }
    crate::peers::record(connection, exchange);
}
