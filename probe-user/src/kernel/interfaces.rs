//! The network interfaces that are counted: attached when they come, forgotten when they go.

use std::collections::BTreeMap;

use aya::{
    Btf, Ebpf,
    maps::{MapData, PerCpuHashMap, PerCpuValues},
    programs::{
        LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode,
        tc::{SchedClassifierLink, TcAttachOptions, qdisc_add_clsact},
        xdp::XdpLink,
    },
    util::{KernelVersion, nr_cpus},
};
use probe_common::interface::{InterfaceCounters, Way};

use super::{
    error::{StartError, reason},
    object::{INTERFACE_DRIVER, INTERFACE_RECEIVE, INTERFACE_TRANSMIT, at_least, load_program},
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
}

struct Attached {
    name: String,
    /// Dropped with it, and so detached.
    #[expect(dead_code, reason = "held for what its drop does")]
    links: Links,
}

/// What holds the programs at an interface; dropping it detaches them.
#[expect(dead_code, reason = "held for what their drop does")]
struct Links {
    receive: ReceiveLink,
    transmit: SchedClassifierLink,
}

#[expect(dead_code, reason = "held for what their drop does")]
enum ReceiveLink {
    Queue(SchedClassifierLink),
    Driver(XdpLink),
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
    pub(super) fn new(settings: &Settings, ebpf: &mut Ebpf) -> Result<Self, StartError> {
        let map = ebpf.take_map(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
        let counters = PerCpuHashMap::try_from(map).map_err(|source| StartError::Map { map: MAP, source })?;
        Ok(Self {
            counters,
            attached: BTreeMap::new(),
            filter: settings.interfaces.clone(),
            by_driver: settings.xdp.clone(),
            refused: BTreeMap::new(),
        })
    }

    /// Attaches to the interfaces that `--xdp` names: the operator asked for them, so a failure is one of the start.
    pub(super) fn attach_requested(&mut self, ebpf: &mut Ebpf) -> Result<(), StartError> {
        if self.by_driver.is_empty() {
            return Ok(());
        }
        let btf = Btf::from_sys_fs().map_err(StartError::Btf)?;
        load_program(ebpf, INTERFACE_DRIVER, &btf)?;
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
            self.attached.remove(&index);
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
        let entry = InterfaceCounters { link_header: interface.link_header, ..InterfaceCounters::default() };
        let cpus = nr_cpus().map_or(1, |cpus| cpus);
        let values = PerCpuValues::try_from(vec![entry; cpus])
            .map_err(|source| StartError::Map { map: MAP, source: source.into() })?;
        self.counters.insert(index, values, 0).map_err(|source| StartError::Map { map: MAP, source })?;
        let links = self.links(ebpf, &interface.name).inspect_err(|_| {
            let _ = self.counters.remove(&index);
        })?;
        self.attached.insert(index, Attached { name: interface.name.clone(), links });
        tracing::debug!("counting interface {}", interface.name);
        Ok(())
    }

    fn links(&self, ebpf: &mut Ebpf, name: &str) -> Result<Links, StartError> {
        let receive = if self.by_driver.iter().any(|driver| driver == name) {
            ReceiveLink::Driver(attach_driver(ebpf, name)?)
        } else {
            ReceiveLink::Queue(attach_queue(ebpf, INTERFACE_RECEIVE, name, TcAttachType::Ingress)?)
        };
        let transmit = attach_queue(ebpf, INTERFACE_TRANSMIT, name, TcAttachType::Egress)?;
        Ok(Links { receive, transmit })
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

fn attach_queue(
    ebpf: &mut Ebpf,
    program: &'static str,
    interface: &str,
    way: TcAttachType,
) -> Result<SchedClassifierLink, StartError> {
    let place = || format!("the interface {interface}");
    let classifier: &mut SchedClassifier = ebpf
        .program_mut(program)
        .and_then(|program| program.try_into().ok())
        .ok_or(StartError::Missing { what: "program", name: program })?;
    let failed = |error| StartError::Attach { program, place: place(), reason: reason(&error) };
    let options = if at_least(KernelVersion::new(6, 6, 0)) {
        // At the head: a neighbour that redirects ends the chain.
        TcAttachOptions::TcxOrder(LinkOrder::first())
    } else {
        // It is there already, if another program made it.
        let _ = qdisc_add_clsact(interface);
        TcAttachOptions::Netlink(aya::programs::tc::NlOptions::default())
    };
    let link = classifier.attach_with_options(interface, way, options).map_err(failed)?;
    classifier.take_link(link).map_err(failed)
}

/// Attaches to the driver, or, where it cannot, to the stack behind it.
fn attach_driver(ebpf: &mut Ebpf, interface: &str) -> Result<XdpLink, StartError> {
    let program: &mut Xdp = ebpf
        .program_mut(INTERFACE_DRIVER)
        .and_then(|program| program.try_into().ok())
        .ok_or(StartError::Missing { what: "program", name: INTERFACE_DRIVER })?;
    let attached = program.attach(interface, XdpMode::Driver).or_else(|error| {
        tracing::warn!(
            "the driver of {interface} has no native XDP ({}): counting it by generic XDP, which costs more than TC; \
             leave out --xdp for this interface",
            reason(&error)
        );
        program.attach(interface, XdpMode::Skb)
    });
    let failed = |error| StartError::Attach {
        program: INTERFACE_DRIVER,
        place: format!("the interface {interface}"),
        reason: reason(&error),
    };
    program.take_link(attached.map_err(failed)?).map_err(failed)
}
