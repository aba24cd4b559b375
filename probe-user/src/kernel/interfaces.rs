//! The network interfaces that are counted: attached when they come, forgotten when they go.

mod in_vain;
mod watch;

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use aya::{Ebpf, maps::MapError};
use nix::net::if_::if_nametoindex;

use super::{
    error::StartError,
    features::Features,
    interface_counters::{self, InterfaceTable},
    interface_hooks::{self, Hooks, Queue, ReceiveAt},
    interface_room::InterfaceRoom,
    links::{self, Heard, Link, Listener, News},
    node_total::{NodeTotal, Share},
    pinning::Pins,
    stacking,
};
pub use in_vain::interfaces_in_vain;

use crate::{
    condition::Condition,
    feature::Feature,
    interface_filter::InterfaceFilter,
    settings::{Settings, TcAttachment},
    snapshot::{InterfaceVolumes, NodeBytes},
};

/// For how long following and listing must not fail until a failure is told again.
const CALM: Duration = Duration::from_mins(1);

/// How often news is asked for in a row, so that a storm of it does not keep the ticks waiting.
const ROUNDS: u32 = 16;

/// The interfaces that are counted.
pub(super) struct Interfaces {
    /// None where the kernel does not tell: then they are listed at each tick.
    listener: Option<Listener>,
    /// All that are there, counted or not.
    present: BTreeMap<u32, Link>,
    counters: InterfaceTable,
    attached: BTreeMap<u32, Attached>,
    node: NodeTotal,
    filter: InterfaceFilter,
    attachment: (Queue, TcAttachment),
    /// Those whose packets are counted as the driver hands them over.
    by_driver: Vec<String>,
    /// Those that could not be attached to, so that each is complained of once.
    refused: BTreeMap<u32, Refused>,
    /// Whether the kernel reports changes of interfaces, and whether it lists them: each is logged when it begins to fail.
    following: Condition,
    listing: Condition,
    /// How many more there are descriptors for.
    room: InterfaceRoom,
    /// Where links are pinned, if they are.
    pins: Option<Pins>,
}

struct Refused {
    name: String,
    reason: String,
}

struct Attached {
    name: String,
    /// What it had counted when it came to its name: another name is another series, which restarts at zero.
    before: InterfaceVolumes,
    share: Share,
    hooks: Hooks,
}

/// Fails if an interface that `--xdp` names is not there. Looked for before anything is loaded, which takes its time.
pub(super) fn demand_requested(settings: &Settings) -> Result<(), StartError> {
    let missing = settings.xdp.iter().find(|name| if_nametoindex(name.as_str()).is_err());
    missing.map_or(Ok(()), |name| Err(StartError::NoInterface(name.clone())))
}

impl Interfaces {
    /// Attaches to those that are there, or takes up what is pinned at them. If none can be, the feature is lost.
    pub(super) fn start(
        settings: &Settings,
        features: &mut Features,
        ebpf: &mut Ebpf,
        pins: Option<&Pins>,
    ) -> Result<Option<Self>, StartError> {
        if !features.has(Feature::Interfaces) {
            return Ok(None);
        }
        let queue = Queue::find(ebpf, features);
        let pins = pins.filter(|_| {
            let pinnable = queue == Queue::Tcx;
            if !pinnable {
                tracing::warn!(
                    "without TCX (before kernel 6.6, or with --tc-hook clsact) interfaces are counted only while an \
                     agent runs: --pin cannot preserve filters"
                );
            }
            pinnable
        });
        let mut interfaces = match Self::new(settings, queue, features, ebpf, pins.cloned()) {
            Ok(interfaces) => interfaces,
            Err(error) => {
                features.lose(Feature::Interfaces, error.to_string());
                return Ok(None);
            }
        };
        interfaces.reconcile(ebpf, features);
        if let Some(complaint) = interfaces.filter.complaint(&in_vain::names(&interfaces.present)) {
            tracing::warn!("{complaint}");
        }
        if interfaces.attached.is_empty()
            && let Some(why) = interfaces.refused.values().next()
        {
            features.lose(Feature::Interfaces, why.reason.clone());
            return Ok(None);
        }
        interfaces.settle();
        interfaces.forget_gone()?;
        Ok(Some(interfaces))
    }

    /// Lists the interfaces; none is counted yet.
    fn new(
        settings: &Settings,
        queue: Queue,
        features: &mut Features,
        ebpf: &mut Ebpf,
        pins: Option<Pins>,
    ) -> Result<Self, StartError> {
        let counters = InterfaceTable::take(ebpf)?;
        // First, so that nothing happens unheard between the two.
        let listener = Listener::new().inspect_err(|error| {
            let why = format!("the kernel does not tell of interfaces that come and go (rtnetlink): {error}");
            features.lose(Feature::News, why);
        });
        Ok(Self {
            listener: listener.ok(),
            present: links::list().map_err(StartError::Links)?,
            counters,
            attached: BTreeMap::new(),
            node: NodeTotal::default(),
            filter: settings.interfaces.clone(),
            attachment: (queue, settings.tc),
            by_driver: settings.xdp.clone(),
            refused: BTreeMap::new(),
            following: Condition::lasting(CALM),
            listing: Condition::lasting(CALM),
            room: InterfaceRoom::find(queue, settings.limits.connections),
            pins,
        })
    }

    /// Forgets what an earlier agent counted at interfaces that have gone since, or are not to be counted any more.
    fn forget_gone(&mut self) -> Result<(), StartError> {
        for index in self.counters.indices()? {
            if !self.attached.contains_key(&index) {
                self.counters.remove(index);
            }
        }
        let Some(pins) = &self.pins else { return Ok(()) };
        Ok(interface_hooks::remove_left(pins, |index| self.attached.contains_key(&index))?)
    }

    /// Readable when there is something to [follow](Self::follow); none if nobody tells.
    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Attaches to what has come, forgets what has gone.
    ///
    /// Attaching takes its time, in which more may happen. Only when there is no more to hear it is certain what rests on
    /// what: the kernel tells of the two ends of a cable one after the other.
    pub(super) fn follow(&mut self, ebpf: &mut Ebpf, features: &mut Features) {
        if self.listener.is_none() {
            self.look(ebpf, features);
        }
        for _ in 0..ROUNDS {
            let Some(listener) = &self.listener else { break };
            match listener.hear() {
                Ok(Heard::All(news)) if news.is_empty() => {
                    _ = self.following.holds(Instant::now());
                    break;
                }
                Ok(Heard::All(news)) => news.into_iter().for_each(|news| self.learn(news)),
                Ok(Heard::Overrun) => {
                    tracing::warn!("too many interface changes at once to follow: listing interfaces again");
                    self.list_again();
                }
                Err(error) => {
                    if self.following.fails(Instant::now()) {
                        tracing::warn!("cannot follow the network interfaces ({error}): listing them again");
                    }
                    self.list_again();
                    break;
                }
            }
            self.share_out();
            self.reconcile(ebpf, features);
        }
        self.settle();
    }

    /// Looks which there are, where nobody tells.
    fn look(&mut self, ebpf: &mut Ebpf, features: &mut Features) {
        self.list_again();
        self.share_out();
        self.reconcile(ebpf, features);
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Is(index, link) => {
                self.present.insert(index, link);
            }
            News::Went(index) => {
                self.present.remove(&index);
                self.forget(index);
            }
        }
    }

    fn list_again(&mut self) {
        match links::list() {
            Ok(present) => {
                self.present = present;
                _ = self.listing.holds(Instant::now());
            }
            Err(error) if self.listing.fails(Instant::now()) => {
                tracing::warn!("cannot list the network interfaces: {error}");
            }
            Err(_) => {}
        }
    }

    /// Makes what is counted agree with what is there.
    fn reconcile(&mut self, ebpf: &mut Ebpf, features: &mut Features) {
        let is_wanted = |index| self.present.get(index).is_some_and(|link| self.filter.admits(&link.name));
        let unwanted: Vec<u32> = self.attached.keys().filter(|index| !is_wanted(index)).copied().collect();
        for index in unwanted {
            self.forget(index);
        }
        self.rename();
        let present = &self.present;
        self.refused.retain(|index, refused| present.get(index).is_some_and(|now| now.name == refused.name));
        let new: Vec<(u32, Link)> = present
            .iter()
            .filter(|(index, _)| !self.attached.contains_key(index) && !self.refused.contains_key(index))
            .filter(|(_, link)| self.filter.admits(&link.name))
            .map(|(&index, link)| (index, link.clone()))
            .collect();
        let mut without_room = Vec::new();
        for (index, link) in new {
            if !self.room.has_room(self.attached.len()) {
                without_room.push(link.name);
                continue;
            }
            match self.attach(ebpf, features, index, &link) {
                Ok(()) => {}
                // It went meanwhile, or took another name: that is still to be heard.
                Err(_) if !has_name(index, &link.name) => {}
                Err(error) => {
                    tracing::warn!("interface {} is not counted: {error}", link.name);
                    self.refused.insert(index, Refused { name: link.name, reason: error.to_string() });
                }
            }
        }
        self.room.tell(&without_room);
    }

    /// Has those that took another name begin a series of that name.
    fn rename(&mut self) {
        for (index, attached) in &mut self.attached {
            let Some(link) = self.present.get(index).filter(|link| link.name != attached.name) else {
                continue;
            };
            tracing::debug!("interface {} is now {}", attached.name, link.name);
            attached.name.clone_from(&link.name);
            attached.before = self.counters.read(*index).unwrap_or(attached.before);
        }
    }

    fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        features: &mut Features,
        index: u32,
        link: &Link,
    ) -> Result<(), StartError> {
        let left = interface_hooks::are_left(self.pins.as_ref(), index)?;
        if !left || !self.counters.has(index) {
            self.counters.begin(index, link.header_length)?;
        }
        let hooks = self.attach_hooks(ebpf, features, index, link).and_then(|hooks| {
            // They are attached by name, which may be another's by now.
            if has_name(index, &link.name) {
                return Ok(hooks);
            }
            hooks.detach();
            Err(StartError::NoInterface(link.name.clone()))
        });
        let hooks = hooks.inspect_err(|_| self.counters.remove(index))?;
        let (before, share) = (InterfaceVolumes::default(), Share::default());
        self.attached.insert(index, Attached { name: link.name.clone(), before, share, hooks });
        tracing::debug!("counting interface {}", link.name);
        Ok(())
    }

    /// At the driver, if that was asked for; where it cannot be, at the queue.
    fn attach_hooks(
        &self,
        ebpf: &mut Ebpf,
        features: &mut Features,
        index: u32,
        link: &Link,
    ) -> Result<Hooks, StartError> {
        let (interface, pins) = ((index, &*link.name), self.pins.as_ref());
        let mut attach = |features: &mut Features, receive| {
            Hooks::attach(ebpf, features, interface, receive, self.attachment, pins)
        };
        if self.by_driver.contains(&link.name) {
            match attach(features, ReceiveAt::Driver) {
                Ok(hooks) => return Ok(hooks),
                Err(error) => features.lose(Feature::Xdp, error.to_string()),
            }
        }
        attach(features, ReceiveAt::Queue)
    }

    fn forget(&mut self, index: u32) {
        let Some(mut attached) = self.attached.remove(&index) else { return };
        if let Ok(volumes) = self.counters.read(index) {
            self.node.add(&mut attached.share, &volumes);
        }
        tracing::debug!("interface {} is no longer counted", attached.name);
        attached.hooks.detach();
        self.counters.remove(index);
    }

    /// Settles what those that have come are; what they have carried already counts as that.
    fn settle(&mut self) {
        self.share_out();
        for (index, attached) in self.attached.iter_mut().filter(|(_, attached)| attached.share.is_new()) {
            if let Ok(volumes) = self.counters.read(*index) {
                self.node.add(&mut attached.share, &volumes);
            }
        }
    }

    /// Says which interfaces' bytes are the node's from now on.
    fn share_out(&mut self) {
        let ways_out = stacking::ways_out(&self.present, &self.attached.keys().copied().collect());
        for (index, attached) in &mut self.attached {
            if attached.share.is_of_way_out() == ways_out.contains(index) {
                continue;
            }
            // What it has carried until now counts as what it was until now; what one carried that has only just come, as
            // what it turned out to be.
            if !attached.share.is_new()
                && let Ok(volumes) = self.counters.read(*index)
            {
                self.node.add(&mut attached.share, &volumes);
            }
            attached.share.turn();
        }
    }

    /// Names of those that are counted now.
    pub(super) fn names(&self) -> Vec<&str> {
        self.attached.values().map(|attached| attached.name.as_str()).collect()
    }

    /// What was counted on each interface, by name, and on all together with no byte counted twice.
    pub(super) fn volumes(&mut self) -> Result<(BTreeMap<String, InterfaceVolumes>, NodeBytes), MapError> {
        let mut volumes = BTreeMap::new();
        for (index, attached) in &mut self.attached {
            let mut sum = self.counters.read(*index)?;
            self.node.add(&mut attached.share, &sum);
            interface_counters::subtract(&mut sum, &attached.before);
            volumes.insert(attached.name.clone(), sum);
        }
        Ok((volumes, self.node.bytes()))
    }
}

/// Whether the interface of an index has a name at this moment.
fn has_name(index: u32, name: &str) -> bool {
    if_nametoindex(name).is_ok_and(|now| now == index)
}
