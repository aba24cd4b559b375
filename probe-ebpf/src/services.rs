//! Which service a socket belongs to.

use aya_ebpf::bindings::{BPF_NOEXIST, bpf_sock};
use aya_ebpf::helpers::generated::bpf_sk_cgroup_id;
use probe_common::{
    connection::{Connection, Owner},
    counters::{NUMBERS, ServiceCounters},
    interface::Transport,
    reason::Reason,
    service::{OTHER, Role, ServiceEntry, ServiceKey},
};

use crate::{
    atomic, complaint,
    maps::{CGROUPS_OF_TWO_VERSIONS, COUNTERS, FREE_SERVICES, INDEX_STATES, SERVICES},
    refusal::Refusal,
};

/// Counters of a service, those of this CPU.
#[inline(always)]
pub fn counters(service: u32) -> Option<*mut ServiceCounters> {
    COUNTERS.get_ptr_mut(service)
}

/// Adds to one of the numbers that a service's counters are.
#[inline(always)]
pub fn add(service: u32, number: u32, count: u64) {
    let Some(counters) = counters(service) else { return };
    if (number as usize) < NUMBERS {
        // SAFETY: within the map's value, which is so many numbers, valid for the program's run.
        unsafe { atomic::add(counters.cast::<u64>().add(number as usize), count) };
    }
}

/// Gives a connection its service: by the socket's cgroup, by who opened it, and by the server's port.
#[inline(always)]
pub fn assign(connection: &mut Connection, sk: *mut bpf_sock, port: u16) -> Result<(), Reason> {
    // SAFETY: `sk` is a full socket (kernel 5.8 for this helper in cgroup_skb).
    let cgroup = unsafe { bpf_sk_cgroup_id(sk.cast()) };
    assign_to_cgroup(connection, cgroup, port)
}

/// The same, where the cgroup is known, or cannot be (0).
#[inline(always)]
pub fn assign_to_cgroup(connection: &mut Connection, cgroup: u64, port: u16) -> Result<(), Reason> {
    let role = connection.role & 1;
    let place = Place { index: &mut connection.service, generation: &mut connection.generation };
    let found = of(place, &connection.owner, cgroup, port, role, Transport::Tcp);
    connection.introduced = true;
    found
}

/// What a socket keeps of its service.
pub struct Place<'a> {
    /// [`ServiceEntry::index`]
    pub index: &'a mut u32,
    /// [`ServiceEntry::generation`]
    pub generation: &'a mut u64,
}

/// Finds the place of the service of a socket with this owner: that of [`OTHER`], and the reason, if it has none.
#[inline(always)]
pub fn of(
    place: Place<'_>,
    owner: &Owner,
    cgroup: u64,
    port: u16,
    role: u8,
    transport: Transport,
) -> Result<(), Reason> {
    // A main thread bears its process' name; another thread's name is its own, so the process tells it apart. Where
    // containers may be known to cgroup v1 alone, it also tells apart the servers of two that have one cgroup here.
    let shares_cgroup = role == Role::Server as u8 && CGROUPS_OF_TWO_VERSIONS.load() != 0;
    let process = if owner.thread == owner.process && !shares_cgroup { 0 } else { owner.process };
    let key = ServiceKey { cgroup, command: owner.command, process, port, role, transport: transport as u8 };
    let found = intern(&key, owner.process, place.generation);
    *place.index = found.unwrap_or(OTHER);
    found.map(|_| ())
}

/// The index of a service, a new one if it is seen for the first time, with its generation. A function of its own: by what way
/// it comes to an end is no business of the verifier's in the caller.
#[inline(never)]
fn intern(key: &ServiceKey, process: u32, generation: &mut u64) -> Result<u32, Reason> {
    // Of the service `other`, which nobody takes away.
    *generation = 0;
    if let Some(entry) = SERVICES.get_ptr(key) {
        // SAFETY: the map's value, valid for the program's run.
        return Ok(unsafe { read(entry, generation) });
    }
    let index = match FREE_SERVICES.pop() {
        Ok(Some(index)) => index,
        Ok(None) => return Err(Reason::ServicesFull),
        Err(_) => return Err(Reason::Contended),
    };
    // An index that is free is nobody's, so its generation does not change.
    // SAFETY: the map's value, valid for the program's run.
    let current = INDEX_STATES.get_ptr(index).map_or(0, |state| unsafe { (*state).generation });
    let entry = ServiceEntry { index, process, generation: current };
    let Err(error) = SERVICES.insert(key, entry, u64::from(BPF_NOEXIST)) else {
        *generation = current;
        return Ok(index);
    };
    // Another CPU was faster, or there is no room: the index goes back.
    if FREE_SERVICES.push(index, 0).is_err() {
        complaint::count(Reason::Contended);
    }
    if let Some(entry) = SERVICES.get_ptr(key) {
        // SAFETY: as above.
        return Ok(unsafe { read(entry, generation) });
    }
    Err(Refusal::of(error).reason(Reason::ServicesFull))
}

/// The index in an entry, with its generation.
///
/// # Safety
/// `entry` is a value of `SERVICES`, valid for the program's run.
#[inline(always)]
unsafe fn read(entry: *const ServiceEntry, generation: &mut u64) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        *generation = (*entry).generation;
        (*entry).index
    }
}

/// Whether a socket may still use the index of the service that it was given: see [`IndexState`].
#[inline(always)]
pub fn is_current(index: u32, generation: u64) -> bool {
    match INDEX_STATES.get_ptr(index) {
        // SAFETY: the map's value, valid for the program's run.
        Some(state) => unsafe { (*state).generation == generation },
        None => true,
    }
}
