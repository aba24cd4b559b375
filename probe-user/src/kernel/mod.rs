//! Everything that touches BPF: loading, attaching, and the pass over the maps.

mod attach;
mod clock;
mod clsact;
mod collector;
mod error;
mod estimate;
mod interface_hooks;
mod interfaces;
mod links;
mod messages;
mod node_total;
mod object;
mod older;
mod oldest;
mod rtnetlink;
mod stacking;
mod syscall;
mod users;

use std::{os::fd::BorrowedFd, path::Path, time::Duration};

use aya::Ebpf;

use self::{collector::Maps, interfaces::Interfaces, messages::Messages, oldest::OldestRequests};
pub use self::{
    error::{CollectError, StartError},
    object::{Features, Heads, load},
};
use crate::{attribution::Attribution, settings::Settings, snapshot::Snapshot};

/// The programs and maps in the kernel, attached; dropping it detaches everything.
pub struct Probe {
    maps: Maps,
    interfaces: Interfaces,
    messages: Option<Messages>,
    // Holds the programs and their links: last, so that the rest goes first.
    ebpf: Ebpf,
}

impl Probe {
    /// Loads and attaches everything.
    pub fn start(settings: &Settings, cgroup: &Path) -> Result<Self, StartError> {
        interfaces::demand_requested(settings)?;
        let features = Features::of_this_kernel();
        let mut ebpf = load(features, settings.capacities)?;
        let messages = Messages::of(&mut ebpf);
        let oldest = features.tells_reads().then(|| OldestRequests::prepare(&mut ebpf)).transpose()?;
        let maps = Maps::take(&mut ebpf, oldest)?;
        // Interfaces first: what a socket sends is then counted on both, or on neither.
        let mut interfaces = Interfaces::new(settings, &mut ebpf)?;
        interfaces.attach_all(&mut ebpf)?;
        attach::sockets(&mut ebpf, features, cgroup)?;
        older::take_up(&ebpf);
        announce(features, cgroup, &interfaces);
        Ok(Self { maps, interfaces, messages, ebpf })
    }

    /// Readable when interfaces have come, changed or gone: then [`Self::follow_interfaces`] is due.
    #[must_use]
    pub fn interface_news(&self) -> BorrowedFd<'_> {
        self.interfaces.listener()
    }

    /// Attaches to interfaces that have come, forgets those that have gone.
    pub fn follow_interfaces(&mut self) {
        self.interfaces.follow(&mut self.ebpf);
    }

    /// One pass over the kernel's maps.
    pub fn collect(
        &mut self,
        users_window: Duration,
        attribution: &mut Attribution,
    ) -> Result<Snapshot, CollectError> {
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
        self.follow_interfaces();
        self.maps.collect(users_window, attribution, &mut self.interfaces)
    }
}

/// Says what is counted, and what is not that a newer kernel would allow.
fn announce(features: Features, cgroup: &Path, interfaces: &Interfaces) {
    tracing::info!(
        "attached to every socket below {} and to the interfaces {}",
        cgroup.display(),
        interfaces.names().join(", ")
    );
    if features.heads == Heads::PassedOver {
        tracing::warn!(
            "this kernel has no bpf_loop (since 5.17): bytes, connections and users are counted, requests are not"
        );
    }
}
