//! Rights that the agent gives up: each thread keeps what its work takes, once all is loaded and attached.
//!
//! Threads that speak with the network, the listener's and the API server's, keep none at all, and are held to the few files
//! and system calls that serving takes. What cannot be given up is no reason not to count: it is logged.

mod files;
mod system_calls;

use std::io;

use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::settings::ClusterSettings;
use files::Reading;
use system_calls::Programs;

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

/// What a kubeconfig takes that a service account does not: programs and files, which it can name anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confinement {
    programs: Programs,
    reading: Reading,
}

impl Confinement {
    /// What fits these settings.
    #[must_use]
    pub fn of(cluster: &ClusterSettings) -> Self {
        if cluster.reads_kubeconfig() {
            Self { programs: Programs::Started, reading: Reading::All }
        } else {
            Self { programs: Programs::Refused, reading: Reading::Few }
        }
    }

    /// Refuses the agent what it never does: this thread, and those that it starts from now on. Says what the kernel gave.
    #[must_use]
    pub fn begin(self) -> String {
        let calls = match system_calls::refuse_never(self.programs) {
            Ok(number) => format!("{number} system calls that the agent never makes are blocked"),
            Err(error) => format!("system calls cannot be refused to it ({error})"),
        };
        let files = files::version().map_or_else(
            || "may write files, since this kernel has no Landlock".into(),
            |version| format!("may write no file (Landlock, version {version})"),
        );
        format!("{calls}; threads that serve {files}")
    }

    /// Leaves this thread, which reads what anybody sends, what serving takes.
    pub fn serve(self) {
        if let Err(error) = files::restrict(self.reading) {
            tracing::warn!("cannot restrict the files of a serving thread: {error}");
        }
        if let Err(error) = system_calls::refuse_to_serve() {
            tracing::warn!("cannot restrict the system calls of a serving thread: {error}");
        }
        keep(CapabilitySet::empty());
    }
}

/// The version of Landlock that this kernel has, if any.
#[must_use]
pub fn landlock_version() -> Option<i64> {
    files::version()
}

/// Leaves this thread, and those that it starts, only what counting takes.
pub fn keep_for_counting() {
    keep(FOR_COUNTING);
}

/// Leaves this thread the right to read files of others, where it has it: certificates may be somebody else's.
pub fn keep_for_reading() {
    keep(CapabilitySet::DAC_READ_SEARCH);
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
        let serving = || Confinement { programs: Programs::Refused, reading: Reading::Few }.serve();
        assert!(left(serving).permitted.is_empty());
        assert_eq!(thread::capabilities(None).unwrap().permitted, held.permitted);
    }
}
