//! Rights that the agent gives up: each thread keeps what its work takes, once all is loaded and attached.
//!
//! Threads that speak with the network, the listener's and the API server's, keep none at all. What cannot be given up is no
//! reason not to count: it is logged.

use std::io;

use rustix::thread::{self, CapabilitySet, CapabilitySets};

/// What counting goes on to take: maps are read with `CAP_BPF`, interfaces that come are attached to with `CAP_NET_ADMIN`, the
/// programs for them are run with `CAP_PERFMON`; `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH`, where they were given, name
/// the processes of others.
const FOR_COUNTING: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Has no program that this one might start be given more rights than it has itself. Threads that are started later
/// inherit it.
pub fn gain_nothing() {
    if let Err(error) = thread::set_no_new_privs(true) {
        tracing::warn!("cannot set no_new_privs: {error}");
    }
}

/// Leaves this thread, and those that it starts, only what counting takes.
pub fn keep_for_counting() {
    keep(FOR_COUNTING);
}

/// Leaves this thread nothing.
pub fn keep_nothing() {
    keep(CapabilitySet::empty());
}

fn keep(kept: CapabilitySet) {
    if let Err(error) = try_keep(kept) {
        tracing::warn!("cannot give up capabilities: {error}");
    }
}

fn try_keep(kept: CapabilitySet) -> io::Result<()> {
    let held = thread::capabilities(None)?;
    let sets = CapabilitySets {
        effective: held.effective & kept,
        permitted: held.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(thread::set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a thread has, after it gave something up.
    fn left(give_up: fn()) -> CapabilitySets {
        let thread = std::thread::spawn(move || {
            give_up();
            thread::capabilities(None).unwrap()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_thread_keeps_what_it_needs_and_others_theirs() {
        let held = thread::capabilities(None).unwrap();
        let counting = left(keep_for_counting);
        assert_eq!(counting.permitted, held.permitted & FOR_COUNTING);
        assert_eq!(counting.effective, held.effective & FOR_COUNTING);
        assert!(left(keep_nothing).permitted.is_empty());
        assert_eq!(thread::capabilities(None).unwrap().permitted, held.permitted);
    }
}
