//! Which service a socket belongs to.

use aya_ebpf::bindings::{BPF_NOEXIST, bpf_sock};
use aya_ebpf::helpers::generated::bpf_sk_cgroup_id;
use probe_common::{
    connection::Connection,
    counters::ServiceCounters,
    reason::Reason,
    service::{OTHER, ServiceEntry, ServiceKey},
};

use crate::{
    complaint,
    maps::{COUNTERS, FREE_SERVICES, SERVICES},
};

/// Counters of a service, those of this CPU.
#[inline(always)]
pub fn counters(service: u32) -> Option<*mut ServiceCounters> {
    COUNTERS.get_ptr_mut(service)
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
    let owner = &connection.owner;
    // A main thread bears its process' name; another thread's name is its own, so the process tells it apart.
    let process = if owner.thread == owner.process { 0 } else { owner.process };
    let key =
        ServiceKey { cgroup, command: owner.command, process, port, role: connection.role & 1, padding: 0 };
    let interned = intern(&key, owner.process);
    connection.service = *interned.as_ref().unwrap_or(&OTHER);
    connection.introduced = true;
    interned.map(drop)
}

/// The index of a service, a new one if it is seen for the first time; or why it has none.
#[inline(always)]
fn intern(key: &ServiceKey, process: u32) -> Result<u32, Reason> {
    if let Some(entry) = SERVICES.get_ptr(key) {
        // SAFETY: the map's value, valid for the program's run.
        return Ok(unsafe { (*entry).index });
    }
    let Ok(Some(index)) = FREE_SERVICES.pop() else {
        return Err(Reason::ServicesFull);
    };
    if SERVICES.insert(key, ServiceEntry { index, process }, u64::from(BPF_NOEXIST)).is_ok() {
        return Ok(index);
    }
    // Another CPU was faster, or is at the same bucket: the index goes back.
    if FREE_SERVICES.push(index, 0).is_err() {
        complaint::count(Reason::Contended);
    }
    if let Some(entry) = SERVICES.get_ptr(key) {
        // SAFETY: as above.
        return Ok(unsafe { (*entry).index });
    }
    Err(Reason::Contended)
}
