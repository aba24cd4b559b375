//! Everything that touches BPF: loading, attaching, and the pass over the maps.

mod attach;
mod batch;
mod clock;
mod clsact;
mod collector;
mod error;
mod expiry;
mod given_ports;
mod grace;
mod histograms;
mod interface_hooks;
mod interfaces;
mod links;
mod memory;
mod messages;
mod names;
mod node_total;
mod object;
mod older;
mod oldest;
mod peers;
mod pinning;
mod removal;
mod routes;
mod rtnetlink;
mod run_once;
mod sharing;
mod stacking;
mod syscall;
mod users;

use std::{
    os::{fd::BorrowedFd, linux::fs::MetadataExt},
    path::Path,
    time::Duration,
};

use aya::Ebpf;

use self::{
    attach::SocketLink,
    collector::Maps,
    expiry::Expiry,
    interfaces::Interfaces,
    messages::Messages,
    names::Names,
    oldest::OldestRequests,
    pinning::{Layout, Making, PinDirectory, Pins},
};
pub use self::{
    error::{CollectError, StartError},
    grace::Grace,
    object::{Cgroups, Departures, Features, Heads, Networks, load},
    pinning::{PinError, Removed},
    removal::{RemoveError, remove_filters, remove_pinned},
};
use crate::{
    attribution::Attribution, peer_names::PeerNames, scrapers::Shown, settings::Settings, snapshot::Snapshot,
};

/// The programs and maps in the kernel, attached; dropping it detaches everything that is not pinned.
pub struct Probe {
    maps: Maps,
    interfaces: Interfaces,
    messages: Option<Messages>,
    _sockets: Vec<SocketLink>,
    // Holds the programs.
    ebpf: Ebpf,
    // Last: then another agent may have it.
    directory: Option<PinDirectory>,
}

impl Probe {
    /// Loads and attaches everything; or takes up what an earlier agent pinned.
    pub fn start(settings: &Settings, cgroup: &Path) -> Result<Self, StartError> {
        interfaces::demand_requested(settings)?;
        let features = Features::of_this_kernel();
        let probe = match &settings.pin {
            None => Self::attach(settings, features, cgroup, None)?,
            Some(path) => {
                let directory = PinDirectory::make(path)?;
                let mut probe = Self::pinned(settings, features, cgroup, &directory)?;
                probe.directory = Some(directory);
                probe
            }
        };
        announce(features, cgroup, &probe.interfaces);
        Ok(probe)
    }

    /// Attaches everything anew.
    fn attach(
        settings: &Settings,
        features: Features,
        cgroup: &Path,
        pins: Option<&Pins>,
    ) -> Result<Self, StartError> {
        let mut ebpf = load(features, settings.capacities, Networks::of(settings))?;
        if let Some(pins) = pins {
            object::pin(&mut ebpf, pins)?;
        }
        let messages = Messages::of(&mut ebpf);
        let oldest = features.reads_heads().then(|| OldestRequests::take(&ebpf)).transpose()?;
        let expiry =
            features.lets_services_leave().then(|| Expiry::prepare(&mut ebpf, settings, pins)).transpose()?;
        let names = pins.map(|pins| Names::create(pins, settings.capacities.services)).transpose()?;
        let maps = Maps::take(&mut ebpf, settings, oldest, expiry, names)?;
        // Interfaces first: what a socket sends is then counted on both, or on neither.
        let interfaces = Interfaces::start(settings, &mut ebpf, pins)?;
        let sockets = attach::sockets(&mut ebpf, features, cgroup, pins)?;
        older::take_up(&mut ebpf);
        Ok(Self { maps, interfaces, messages, _sockets: sockets, ebpf, directory: None })
    }

    /// Takes up what is pinned and of this agent's layout; else replaces what there is.
    fn pinned(
        settings: &Settings,
        features: Features,
        cgroup: &Path,
        directory: &PinDirectory,
    ) -> Result<Self, StartError> {
        let layout = layout(settings, features);
        let taken_up = directory.whole(&layout).map(|pins| Self::take_up(settings, features, &pins));
        let probe = match taken_up {
            Some(Ok(probe)) => {
                tracing::info!("took up what an earlier agent pinned: counters go on from where they were");
                probe
            }
            Some(Err(error)) => {
                tracing::warn!(
                    "what is pinned cannot be taken up, and is replaced ({error}): counters begin at zero"
                );
                Self::replace(settings, features, cgroup, directory)?
            }
            None => {
                if directory.has_others(&layout)? {
                    tracing::warn!(
                        "what is pinned was made by another version, or with other settings, and is replaced: \
                         counters begin at zero"
                    );
                }
                Self::replace(settings, features, cgroup, directory)?
            }
        };
        // Not before the new programs count: what goes was read by nobody any more, and misses nothing in between.
        let removed = directory.remove_others(&layout)?;
        if !removed.is_nothing() {
            tracing::info!("removed of what was pinned before: {removed}");
        }
        Ok(probe)
    }

    fn replace(
        settings: &Settings,
        features: Features,
        cgroup: &Path,
        directory: &PinDirectory,
    ) -> Result<Self, StartError> {
        let layout = layout(settings, features);
        let pins = directory.begin(&layout)?;
        let started = Self::attach(settings, features, cgroup, Some(&pins))
            .and_then(|probe| Ok(PinDirectory::complete(&pins).map(|()| probe)?));
        if started.is_err()
            && let Err(error) = PinDirectory::abandon(&pins)
        {
            tracing::warn!("what was pinned before the start failed stays: {error}");
        }
        started
    }

    /// Takes up what an earlier agent left at work: nothing is loaded, nothing attached a second time.
    fn take_up(settings: &Settings, features: Features, pins: &Pins) -> Result<Self, StartError> {
        let sockets = attach::take_up(features, pins)?;
        let mut ebpf = object::open(features, settings, pins)?;
        let messages = Messages::of(&mut ebpf);
        let oldest = features.reads_heads().then(|| OldestRequests::take(&ebpf)).transpose()?;
        let expiry =
            features.lets_services_leave().then(|| Expiry::take_up(&mut ebpf, settings, pins)).transpose()?;
        let maps = Maps::take(&mut ebpf, settings, oldest, expiry, Some(Names::open(pins)?))?;
        let interfaces = Interfaces::start(settings, &mut ebpf, Some(pins))?;
        Ok(Self { maps, interfaces, messages, _sockets: sockets, ebpf, directory: None })
    }

    /// Tells the names that an earlier agent gave to services: they keep them.
    pub fn recall_names(&mut self, attribution: &mut Attribution) {
        self.maps.recall_names(attribution);
    }

    /// Says who tells what peers are called, where they are counted.
    pub fn name_peers_by(&mut self, names: PeerNames) {
        if let Some(peers) = &mut self.maps.peers {
            peers.name_by(names);
        }
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

    /// One pass over the kernel's maps; `shown` tells what of earlier ones was scraped.
    pub fn collect(
        &mut self,
        users_window: Duration,
        shown: Shown,
        attribution: &mut Attribution,
    ) -> Result<Snapshot, CollectError> {
        if let Some(messages) = &mut self.messages {
            messages.flush();
        }
        self.follow_interfaces();
        self.maps.collect(users_window, shown, attribution, &mut self.interfaces)
    }
}

/// The layout of what this agent pins.
fn layout(settings: &Settings, features: Features) -> Layout {
    let (capacities, tc) = (settings.capacities, settings.tc);
    let (proxies, peer_networks) = (settings.proxies.clone(), settings.peers.networks.clone());
    let namespace = network_namespace();
    object::layout(&Making { features, capacities, tc, namespace, proxies, peer_networks })
}

/// The network namespace that interfaces are counted in, by its inode.
fn network_namespace() -> u64 {
    std::fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.st_ino())
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
    if !features.lets_services_leave() {
        tracing::warn!(
            "this kernel has no bpf_for_each_map_elem (since 5.13): what is idle stays in its tables"
        );
    }
}
