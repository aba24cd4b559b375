//! Everything that touches BPF: loading, attaching, and the pass over the maps.

mod attach;
mod attachments;
mod batch;
mod clock;
mod clsact;
mod collector;
mod error;
mod expiry;
mod features;
mod given_ports;
mod globals;
mod grace;
mod histograms;
mod hook_watch;
mod interface_counters;
mod interface_hooks;
mod interface_room;
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
mod room;
mod routes;
mod rtnetlink;
mod run_once;
mod sharing;
mod stacking;
mod syscall;
mod task_layout;
mod trial;
mod users;

use std::{os::fd::BorrowedFd, path::Path, time::Duration};

use aya::Ebpf;

use self::{
    attach::SocketLink,
    collector::Maps,
    expiry::Expiry,
    hook_watch::HookWatch,
    interfaces::Interfaces,
    messages::Messages,
    names::Names,
    oldest::OldestRequests,
    pinning::{Layout, Making, PinDirectory, Pins},
};
pub use self::{
    error::{CollectError, StartError},
    features::Features,
    grace::Grace,
    interfaces::interfaces_in_vain,
    object::{Cgroups, Networks, load},
    pinning::{PinError, Removed, pinned_since},
    removal::{RemoveError, remove_filters, remove_pinned},
    trial::Trial,
};
use crate::{
    attribution::Attribution, feature::Feature, netns, peer_names::PeerNames, scrapers::Shown,
    settings::Settings, snapshot::Snapshot,
};

/// The programs and maps in the kernel, attached; dropping it detaches everything that is not pinned.
pub struct Probe {
    features: Features,
    maps: Maps,
    interfaces: Option<Interfaces>,
    messages: Option<Messages>,
    sockets: Vec<SocketLink>,
    /// None in a trial.
    watch: Option<HookWatch>,
    // Holds the programs.
    ebpf: Ebpf,
    // Last: then another agent may have it.
    directory: Option<PinDirectory>,
}

impl Probe {
    /// Loads and attaches everything that the kernel allows; or takes up what an earlier agent pinned.
    pub fn start(settings: &Settings, cgroup: &Path) -> Result<Self, StartError> {
        interfaces::demand_requested(settings)?;
        let mut features = Features::wanted(settings);
        if let Some(directory) = pin_directory(settings, &mut features)? {
            match Self::pinned(settings, &mut features, cgroup, &directory) {
                Ok(probe) => return Ok(Self { directory: Some(directory), ..probe }),
                Err(error) => features.lose(Feature::Pin, place_at_fault(error)?),
            }
        }
        loop {
            let ebpf = load(&mut features, settings.capacities, Networks::of(settings))?;
            match Self::attach(ebpf, settings, &mut features, Some(cgroup), None) {
                Err(StartError::Without { feature, why }) if features.has(feature) => {
                    features.lose(feature, why);
                }
                started => return started,
            }
        }
    }

    /// Attaches everything anew that was loaded; without a cgroup, to no sockets.
    fn attach(
        mut ebpf: Ebpf,
        settings: &Settings,
        features: &mut Features,
        cgroup: Option<&Path>,
        pins: Option<&Pins>,
    ) -> Result<Self, StartError> {
        if let Some(pins) = pins {
            object::pin(&mut ebpf, features, pins)?;
        }
        let messages = messages(&mut ebpf, features);
        let oldest = optional(features, Feature::Oldest, || OldestRequests::take(&ebpf))?;
        let expiry = optional(features, Feature::Expiry, || Expiry::prepare(&mut ebpf, settings, pins))?;
        let names = pins.map(|pins| Names::create(pins, settings.capacities.services)).transpose();
        let names =
            names.map_err(|error| StartError::Without { feature: Feature::Pin, why: error.to_string() })?;
        let maps = Maps::take(&mut ebpf, &in_force(settings, features), oldest, expiry, names)?;
        // Sockets first: services are what is counted above all. Hundreds of interfaces take seconds to attach to, and all descriptors
        // that they are left.
        let sockets = attach::sockets(&mut ebpf, features, cgroup, pins)?;
        if features.has(Feature::Older)
            && let Err(why) = older::take_up(&mut ebpf)
        {
            features.lose(Feature::Older, why);
        }
        let interfaces = Interfaces::start(settings, features, &mut ebpf, pins)?;
        Ok(Self {
            features: features.clone(),
            maps,
            interfaces,
            messages,
            sockets,
            watch: cgroup.map(|cgroup| HookWatch::begin(cgroup.to_owned(), pins)),
            ebpf,
            directory: None,
        })
    }

    /// Takes up what is pinned and of this agent's layout; else replaces what there is.
    fn pinned(
        settings: &Settings,
        features: &mut Features,
        cgroup: &Path,
        directory: &PinDirectory,
    ) -> Result<Self, StartError> {
        let mut loaded = None;
        if directory.whole(&layout(settings, features)).is_none() {
            // The agent before may have had to do without something: what the kernel allows tells which layout that makes.
            loaded = Some(load(features, settings.capacities, Networks::of(settings))?);
        }
        let wanted = layout(settings, features);
        let taken_up =
            directory.whole(&wanted).map(|pins| Self::take_up(settings, features.clone(), cgroup, &pins));
        let (probe, kept) = match taken_up {
            Some(Ok(probe)) => {
                tracing::info!("took over the state pinned by an earlier agent: counters continue");
                (probe, wanted)
            }
            Some(Err(error)) => {
                tracing::warn!(
                    "the pinned state cannot be taken over and is replaced ({error}): counters restart at zero"
                );
                Self::replace(loaded, settings, features, cgroup, directory)?
            }
            None => {
                if directory.has_others(&wanted)? {
                    tracing::warn!(
                        "the pinned state is of another version or other settings and is replaced: counters restart \
                         at zero"
                    );
                }
                Self::replace(loaded, settings, features, cgroup, directory)?
            }
        };
        // Not before the new programs count: what goes was read by nobody any more, and misses nothing in between.
        let removed = directory.remove_others(&kept)?;
        if !removed.is_nothing() {
            tracing::info!("removed earlier pinned state: {removed}");
        }
        Ok(probe)
    }

    /// Attaches everything anew, and pins it, in the directory of the layout that it turns out to have.
    fn replace(
        mut loaded: Option<Ebpf>,
        settings: &Settings,
        features: &mut Features,
        cgroup: &Path,
        directory: &PinDirectory,
    ) -> Result<(Self, Layout), StartError> {
        loop {
            let ebpf = match loaded.take() {
                Some(ebpf) => ebpf,
                None => load(features, settings.capacities, Networks::of(settings))?,
            };
            let layout = layout(settings, features);
            let pins = directory.begin(&layout)?;
            let as_loaded = features.loaded();
            let started =
                Self::attach(ebpf, settings, features, Some(cgroup), Some(&pins)).and_then(|probe| {
                    features.unlinked(as_loaded).try_for_each(|lost| pins.note_without(lost.name()))?;
                    PinDirectory::complete(&pins)?;
                    Ok(probe)
                });
            if started.is_err()
                && let Err(error) = PinDirectory::abandon(&pins)
            {
                tracing::warn!("cannot remove what was pinned before the start failed: {error}");
            }
            match started {
                Err(StartError::Without { feature, why })
                    if features.has(feature) && feature != Feature::Pin =>
                {
                    features.lose(feature, why);
                }
                started => return Ok((started?, layout)),
            }
        }
    }

    /// Takes up what an earlier agent left at work: nothing is loaded, nothing attached a second time.
    fn take_up(
        settings: &Settings,
        mut features: Features,
        cgroup: &Path,
        pins: &Pins,
    ) -> Result<Self, StartError> {
        for name in pins.without()? {
            if let Some(feature) = Feature::ALL.into_iter().find(|feature| feature.name() == name) {
                features.lose(
                    feature,
                    "it could not be attached when what is pinned was set up, which is tried anew after \
                     `traffic-probe detach --pin`",
                );
            }
        }
        let sockets = attach::take_up(&features, pins)?;
        let mut ebpf = object::open(&features, settings, pins)?;
        let messages = messages(&mut ebpf, &mut features);
        let oldest = features.has(Feature::Oldest).then(|| OldestRequests::take(&ebpf));
        let expiry = features.has(Feature::Expiry).then(|| Expiry::take_up(&mut ebpf, settings, pins));
        let maps = Maps::take(
            &mut ebpf,
            &in_force(settings, &features),
            oldest.transpose()?,
            expiry.transpose()?,
            Some(Names::open(pins)?),
        )?;
        let interfaces = Interfaces::start(settings, &mut features, &mut ebpf, Some(pins))?;
        let watch = Some(HookWatch::begin(cgroup.to_owned(), Some(pins)));
        Ok(Self { features, maps, interfaces, messages, sockets, watch, ebpf, directory: None })
    }

    /// Says what is counted, and once of each feature that is missing why, what is lost, and how to mend it.
    pub fn announce(&mut self, cgroup: &Path) {
        let names = self.interfaces.as_ref().map(Interfaces::names).filter(|names| !names.is_empty());
        let interfaces = names.map_or_else(
            || "no interface".to_owned(),
            |names| format!("the interfaces {}", names.join(", ")),
        );
        tracing::info!("attached to every socket below {} and to {interfaces}", cgroup.display());
        self.features.tell();
    }

    /// What is in force, and what is missing.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Notes that something is missing that is looked for outside of the kernel's programs.
    pub fn lose(&mut self, feature: Feature, why: impl Into<String>) {
        self.features.lose(feature, why);
    }

    /// Whether everything stays when the agent ends.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.directory.is_some() && self.features.has(Feature::Pin)
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

    /// Readable when interfaces have come, changed or gone: then [`Self::follow_interfaces`] is due. None if nobody tells.
    #[must_use]
    pub fn interface_news(&self) -> Option<BorrowedFd<'_>> {
        self.interfaces.as_ref()?.listener()
    }

    /// Attaches to interfaces that have come, forgets those that have gone.
    pub fn follow_interfaces(&mut self) {
        if let Some(interfaces) = &mut self.interfaces {
            interfaces.follow(&mut self.ebpf, &mut self.features);
        }
    }

    /// One pass over the kernel's maps; `shown` tells what of earlier ones was scraped.
    pub fn collect(
        &mut self,
        users_window: Duration,
        shown: Shown,
        attribution: &mut Attribution,
    ) -> Result<Snapshot, CollectError> {
        self.follow_interfaces();
        self.look_after_hooks();
        let states = self.features.states();
        let collected = self.maps.collect(users_window, shown, attribution, self.interfaces.as_mut(), states);
        if let Some(messages) = &mut self.messages {
            messages.flush(|index| self.maps.named(index));
        }
        collected
    }
}

/// The directory that `--pin` names, if it can be had.
fn pin_directory(settings: &Settings, features: &mut Features) -> Result<Option<PinDirectory>, StartError> {
    let Some(path) = &settings.pin else { return Ok(None) };
    match PinDirectory::make(path) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) => {
            features.lose(Feature::Pin, place_at_fault(error.into())?);
            Ok(None)
        }
    }
}

/// Why nothing can be pinned, where that is all that went wrong.
fn place_at_fault(error: StartError) -> Result<String, StartError> {
    match error {
        StartError::Pin(error) if error.is_of_place() => Ok(error.of_place()),
        StartError::Without { feature: Feature::Pin, why } => Ok(why),
        error => Err(error),
    }
}

/// The settings as far as their features are in force.
fn in_force(settings: &Settings, features: &Features) -> Settings {
    Settings { capacities: features.sizes(settings.capacities), ..settings.clone() }
}

/// Makes what a feature takes, if it is in force; if it cannot be made, the feature is lost.
fn optional<T>(
    features: &mut Features,
    feature: Feature,
    make: impl FnOnce() -> Result<T, StartError>,
) -> Result<Option<T>, StartError> {
    if !features.has(feature) {
        return Ok(None);
    }
    match make() {
        Ok(value) => Ok(Some(value)),
        // That is another feature's affair.
        Err(error @ StartError::Pin(_)) => Err(error),
        Err(error) => {
            features.lose(feature, error.to_string());
            Ok(None)
        }
    }
}

/// What reads the kernel side's messages.
fn messages(ebpf: &mut Ebpf, features: &mut Features) -> Option<Messages> {
    if !features.has(Feature::Log) {
        return None;
    }
    Messages::of(ebpf).inspect_err(|why| features.lose(Feature::Log, why.as_str())).ok()
}

/// The layout of what this agent pins.
fn layout(settings: &Settings, features: &Features) -> Layout {
    let (capacities, tc) = (features.sizes(settings.capacities), settings.tc);
    let (proxies, peer_networks) = (settings.proxies.clone(), settings.peers.networks.clone());
    let (namespace, features) = (netns::own(), features.loaded());
    object::layout(&Making { features, capacities, tc, namespace, proxies, peer_networks })
}
