//! Everything that touches BPF: loading, attaching, and the pass over the maps.

mod attach;
mod collector;
mod error;
mod interfaces;
mod object;
mod users;

use std::{path::Path, time::Duration};

use aya::Ebpf;
use aya_log::EbpfLogger;

use self::{collector::Maps, interfaces::Interfaces};
pub use self::{
    error::{CollectError, StartError},
    object::{Features, load},
};
use crate::{attribution::Attribution, settings::Settings, snapshot::Snapshot};

/// The programs and maps in the kernel, attached; dropping it detaches everything.
pub struct Probe {
    maps: Maps,
    interfaces: Interfaces,
    messages: Option<EbpfLogger<&'static dyn log::Log>>,
    // Holds the programs and their links: last, so that the rest goes first.
    ebpf: Ebpf,
}

impl Probe {
    /// Loads and attaches everything.
    pub fn start(settings: &Settings, cgroup: &Path) -> Result<Self, StartError> {
        let features = Features::of_this_kernel();
        let mut ebpf = load(features, settings.capacities)?;
        // Without its messages the probe counts as well.
        let messages = EbpfLogger::init(&mut ebpf)
            .inspect_err(|error| tracing::warn!("messages from the kernel side will not be seen: {error}"))
            .ok();
        let maps = Maps::take(&mut ebpf)?;
        // Interfaces first: what a socket sends is then counted on both, or on neither.
        let mut interfaces = Interfaces::new(settings, &mut ebpf)?;
        interfaces.attach_requested(&mut ebpf)?;
        interfaces.follow(&mut ebpf);
        attach::sockets(&mut ebpf, features, cgroup)?;
        Ok(Self {
            maps,
            interfaces,
            messages,
            ebpf,
        })
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
        self.interfaces.follow(&mut self.ebpf);
        self.maps.collect(users_window, attribution, &self.interfaces)
    }
}
