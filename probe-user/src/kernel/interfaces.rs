//! The network interfaces that are counted: attached when they come, forgotten when they go.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{MapData, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use probe_common::interface::{InterfaceCounters, Way};

use super::{
    error::StartError,
    interface_hooks::{self, Hooks, ReceiveAt},
    pinning::Pins,
};
use crate::{interface_filter::InterfaceFilter, settings::Settings, snapshot::InterfaceVolumes};

const MAP: &str = "INTERFACES";

/// Bytes before the network header of a device that bears Ethernet frames, as the loopback device does.
const ETHERNET: u64 = 14;

/// The interfaces that are counted.
pub(super) struct Interfaces {
    counters: PerCpuHashMap<MapData, u32, InterfaceCounters>,
    attached: BTreeMap<u32, Attached>,
    filter: InterfaceFilter,
    /// Those whose packets are counted as the driver hands them over.
    by_driver: Vec<String>,
    /// Those that could not be attached to, so that each is complained of once.
    refused: BTreeMap<u32, String>,
    /// Where links are pinned, if they are.
    pins: Option<Pins>,
}

struct Attached {
    name: String,
    hooks: Hooks,
}

/// Fails if an interface that `--xdp` names is not there. Looked for before anything is loaded, which takes its time.
pub(super) fn demand_requested(settings: &Settings) -> Result<(), StartError> {
    let present = present();
    let is_there = |name: &String| present.values().any(|interface| interface.name == *name);
    settings
        .xdp
        .iter()
        .find(|name| !is_there(name))
        .map_or(Ok(()), |name| Err(StartError::NoInterface(name.clone())))
}

impl Interfaces {
    /// Attaches to those that are there, or takes up what is pinned at them.
    pub(super) fn start(
        settings: &Settings,
        ebpf: &mut Ebpf,
        pins: Option<&Pins>,
    ) -> Result<Self, StartError> {
        let pins = pins.filter(|_| {
            let pinnable = interface_hooks::are_links();
            if !pinnable {
                tracing::warn!(
                    "before kernel 6.6 interfaces are counted while the agent runs only: nothing holds a filter for the \
                     next one"
                );
            }
            pinnable
        });
        let mut interfaces = Self::new(settings, ebpf, pins.cloned())?;
        interfaces.attach_requested(ebpf)?;
        interfaces.follow(ebpf);
        interfaces.forget_gone()?;
        Ok(interfaces)
    }

    fn new(settings: &Settings, ebpf: &mut Ebpf, pins: Option<Pins>) -> Result<Self, StartError> {
        let map = ebpf.take_map(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
        let counters = PerCpuHashMap::try_from(map).map_err(|source| StartError::Map { map: MAP, source })?;
        Ok(Self {
            counters,
            attached: BTreeMap::new(),
            filter: settings.interfaces.clone(),
            by_driver: settings.xdp.clone(),
            refused: BTreeMap::new(),
            pins,
        })
    }

    /// Forgets what an earlier agent counted at interfaces that have gone since, or are not to be counted any more.
    fn forget_gone(&mut self) -> Result<(), StartError> {
        let unread = |source| StartError::Map { map: MAP, source };
        let counted = self.counters.keys().collect::<Result<Vec<u32>, _>>().map_err(unread)?;
        for index in counted.iter().filter(|index| !self.attached.contains_key(index)) {
            let _ = self.counters.remove(index);
        }
        let Some(pins) = &self.pins else { return Ok(()) };
        Ok(interface_hooks::remove_left(pins, |index| self.attached.contains_key(&index))?)
    }

    /// Attaches to the interfaces that `--xdp` names: the operator asked for them, so a failure is one of the start.
    fn attach_requested(&mut self, ebpf: &mut Ebpf) -> Result<(), StartError> {
        let present = present();
        for name in self.by_driver.clone() {
            let Some((&index, interface)) = present.iter().find(|(_, candidate)| candidate.name == name)
            else {
                return Err(StartError::NoInterface(name));
            };
            self.attach(ebpf, index, interface)?;
        }
        Ok(())
    }

    /// Attaches to what has come, forgets what has gone.
    pub(super) fn follow(&mut self, ebpf: &mut Ebpf) {
        let present = present();
        let gone: Vec<u32> = self
            .attached
            .iter()
            .filter(|(index, attached)| present.get(index).is_none_or(|now| now.name != attached.name))
            .map(|(&index, _)| index)
            .collect();
        for index in gone {
            if let Some(attached) = self.attached.remove(&index) {
                attached.hooks.detach();
            }
            // Gone as well, if the kernel was faster.
            let _ = self.counters.remove(&index);
        }
        self.refused.retain(|index, name| present.get(index).is_some_and(|now| now.name == *name));
        for (index, interface) in present {
            let known = self.attached.contains_key(&index) || self.refused.contains_key(&index);
            if known || !self.filter.admits(&interface.name) {
                continue;
            }
            if let Err(error) = self.attach(ebpf, index, &interface) {
                tracing::warn!("interface {} is not counted: {error}", interface.name);
                self.refused.insert(index, interface.name);
            }
        }
    }

    fn attach(&mut self, ebpf: &mut Ebpf, index: u32, interface: &Present) -> Result<(), StartError> {
        let left = interface_hooks::are_left(self.pins.as_ref(), index)?;
        if !left || self.counters.get(&index, 0).is_err() {
            self.begin(index, interface)?;
        }
        let by_driver = self.by_driver.contains(&interface.name);
        let receive = if by_driver { ReceiveAt::Driver } else { ReceiveAt::Queue };
        let hooks = Hooks::attach(ebpf, (index, &interface.name), receive, self.pins.as_ref());
        let hooks = hooks.inspect_err(|_| {
            let _ = self.counters.remove(&index);
        })?;
        self.attached.insert(index, Attached { name: interface.name.clone(), hooks });
        tracing::debug!("counting interface {}", interface.name);
        Ok(())
    }

    /// Makes an interface's counters, at zero.
    fn begin(&mut self, index: u32, interface: &Present) -> Result<(), StartError> {
        let entry = InterfaceCounters { link_header: interface.link_header, ..InterfaceCounters::default() };
        let cpus = nr_cpus().map_or(1, |cpus| cpus);
        let values = PerCpuValues::try_from(vec![entry; cpus])
            .map_err(|source| StartError::Map { map: MAP, source: source.into() })?;
        self.counters.insert(index, values, 0).map_err(|source| StartError::Map { map: MAP, source })
    }

    /// Names of those that are counted now.
    pub(super) fn names(&self) -> Vec<&str> {
        self.attached.values().map(|attached| attached.name.as_str()).collect()
    }

    /// What was counted on each interface, by name.
    pub(super) fn volumes(&self) -> Result<BTreeMap<String, InterfaceVolumes>, aya::maps::MapError> {
        let mut volumes = BTreeMap::new();
        for (index, attached) in &self.attached {
            let mut sum = InterfaceVolumes::default();
            for counters in self.counters.get(index, 0)?.iter() {
                add(&mut sum, counters);
            }
            volumes.insert(attached.name.clone(), sum);
        }
        Ok(volumes)
    }
}

/// The names of the interfaces that are there.
pub(super) fn present_names() -> Vec<String> {
    present().into_values().map(|interface| interface.name).collect()
}

fn add(sum: &mut InterfaceVolumes, counters: &InterfaceCounters) {
    for way in Way::ALL {
        let (sum, counted) = (&mut sum[way as usize], &counters.volume[way as usize]);
        for (sum, counted) in sum.iter_mut().flatten().zip(counted.iter().flatten()) {
            sum.bytes += counted.bytes;
            sum.packets += counted.packets;
        }
    }
}

/// An interface that is there.
#[derive(Clone, PartialEq, Eq)]
struct Present {
    name: String,
    /// Bytes before the network header of its frames.
    link_header: u64,
}

/// The interfaces of the agent's network namespace, by index. Not from sysfs, which may be another namespace's.
fn present() -> BTreeMap<u32, Present> {
    let addresses = match nix::ifaddrs::getifaddrs() {
        Ok(addresses) => addresses,
        Err(error) => {
            tracing::warn!("cannot list the network interfaces: {error}");
            return BTreeMap::new();
        }
    };
    addresses
        .filter_map(|entry| {
            let address = entry.address?;
            let link = address.as_link_addr()?;
            let present = Present { name: entry.interface_name, link_header: link_header(link.hatype()) };
            Some((u32::try_from(link.ifindex()).ok()?, present))
        })
        .collect()
}

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` of `linux/if_arp.h` bear Ethernet frames, tunnels of IP packets bear none.
fn link_header(hardware: u16) -> u64 {
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => ETHERNET,
        _ => 0,
    }
}
