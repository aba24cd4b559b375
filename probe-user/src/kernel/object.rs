//! The object with the programs and maps, and what of it a kernel can have.

use std::hash::{BuildHasher, RandomState};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{
        Queue,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{Program, ProgramType, SchedClassifier},
    sys::{BpfHelper, is_helper_supported},
    util::KernelVersion,
};

use probe_common::peer::DEPARTURES;

use super::{
    error::{StartError, reason},
    given_ports::given_ports,
    pinning::{Layout, Making, Pins},
};
use crate::{
    attribution::cgroup1_is_mounted,
    peer_networks::PeerNetworks,
    proxies::{Entry, Proxies},
    settings::{Capacities, Settings},
};

/// The kernel side, as `cargo xtask build` made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe-ebpf"));

/// What this kernel has of that which makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    /// Who tells of sockets that listen, connect and close.
    pub states: StateSource,
    /// Whether the heads of messages are read.
    pub heads: Heads,
    /// Which hierarchies of cgroups there are.
    pub cgroups: Cgroups,
    /// Whether what is idle leaves the kernel's tables.
    pub departures: Departures,
}

/// Whether services, series and peers to which nothing happens leave the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Departures {
    /// They do, by `bpf_for_each_map_elem` (kernel 5.13).
    ByOrders,
    /// They stay.
    None,
}

/// Which hierarchies of cgroups a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cgroups {
    /// That of version 2 alone: a socket's cgroup tells its container.
    Unified,
    /// Those of version 1 too: some containers may be known to these alone.
    Hybrid,
}

/// Whether the heads of messages are read, and so requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heads {
    /// They are, by `bpf_loop` (kernel 5.17).
    Read,
    /// They are not: bytes, packets, connections and users only.
    PassedOver,
}

/// Who tells of sockets that listen, connect and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateSource {
    /// The tracepoint `inet_sock_set_state`, which also knows the task (kernel 5.11).
    Tracepoint,
    /// The state callback of `sock_ops`: connections that the probe saw open, without the task's name.
    SockOps,
}

impl Features {
    /// Looks at the kernel that runs.
    #[must_use]
    pub fn of_this_kernel() -> Self {
        let tracepoint = at_least(KernelVersion::new(5, 11, 0));
        // An error of the trial itself says nothing of the helper: then the loading shall tell.
        let heads = is_helper_supported(ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_loop).unwrap_or(true);
        let orders = is_helper_supported(ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_for_each_map_elem)
            .unwrap_or(true);
        Self {
            states: if tracepoint { StateSource::Tracepoint } else { StateSource::SockOps },
            heads: if heads { Heads::Read } else { Heads::PassedOver },
            cgroups: if cgroup1_is_mounted() { Cgroups::Hybrid } else { Cgroups::Unified },
            departures: if orders { Departures::ByOrders } else { Departures::None },
        }
    }

    /// The programs at the root cgroup for what sockets receive and for what they send.
    #[must_use]
    pub const fn socket_programs(self) -> (&'static str, &'static str) {
        match self.heads {
            Heads::Read => ("socket_receive", "socket_transmit"),
            Heads::PassedOver => ("socket_receive_plain", "socket_transmit_plain"),
        }
    }

    /// Whether requests are counted.
    pub(super) fn reads_heads(self) -> bool {
        self.heads == Heads::Read
    }

    /// Whether what is idle can leave the kernel's tables (`bpf_for_each_map_elem`, kernel 5.13).
    pub(super) fn lets_services_leave(self) -> bool {
        self.departures == Departures::ByOrders
    }

    /// The programs at tracepoints, with the kernel's function at which each is called.
    pub(super) const fn tracepoint_programs(self) -> &'static [(&'static str, &'static str)] {
        match (self.states, self.heads) {
            (StateSource::SockOps, _) => &[],
            (StateSource::Tracepoint, Heads::PassedOver) => &[("socket_states_plain", "inet_sock_set_state")],
            (StateSource::Tracepoint, Heads::Read) => {
                &[("socket_states", "inet_sock_set_state"), ("application_reads", "tcp_rcv_space_adjust")]
            }
        }
    }
}

/// Whether the kernel that runs is of this version or a later one; so it is taken to be, if it does not tell.
pub(super) fn at_least(version: KernelVersion) -> bool {
    KernelVersion::current().map_or(true, |current| current >= version)
}

// The programs that are the same on every kernel.
pub(super) const CONNECTIONS: &str = "connections";
pub(super) const DATAGRAM_SOCKETS: &str = "datagram_sockets";
pub(super) const CARRY_OUT_ORDERS: &str = "carry_out_orders";
pub(super) const ADOPT: &str = "adopt";
pub(super) const INTERFACE_RECEIVE: &str = "interface_receive";
pub(super) const INTERFACE_TRANSMIT: &str = "interface_transmit";
pub(super) const INTERFACE_DRIVER: &str = "interface_driver";

/// Networks that the kernel side looks addresses up in.
#[derive(Clone, Copy, Debug)]
pub struct Networks<'a> {
    /// Of proxies that are believed.
    pub proxies: &'a Proxies,
    /// Whose addresses are one peer.
    pub peers: &'a PeerNetworks,
}

impl<'a> Networks<'a> {
    /// None at all.
    pub const NONE: Networks<'static> = Networks { proxies: &Proxies::NONE, peers: &PeerNetworks::NONE };

    pub(super) const fn of(settings: &'a Settings) -> Self {
        Self { proxies: &settings.proxies, peers: &settings.peers.networks }
    }
}

/// Makes the maps and loads the programs that this kernel can have; attaches none.
///
/// # Errors
/// A sentence for each thing that the kernel can refuse.
pub fn load(features: Features, capacities: Capacities, networks: Networks<'_>) -> Result<Ebpf, StartError> {
    let btf = Btf::from_sys_fs().map_err(StartError::Btf)?;
    let globals = Globals::of(features, capacities, networks);
    let mut ebpf =
        loader(&globals, capacities, networks).btf(Some(&btf)).load(OBJECT).map_err(StartError::Object)?;
    believe(&mut ebpf, networks.proxies)?;
    number(&mut ebpf, networks.peers)?;
    let (receive, transmit) = features.socket_programs();
    let everywhere =
        [receive, transmit, CONNECTIONS, DATAGRAM_SOCKETS, ADOPT, INTERFACE_RECEIVE, INTERFACE_TRANSMIT];
    for program in everywhere {
        load_program(&mut ebpf, program)?;
    }
    for (program, tracepoint) in features.tracepoint_programs() {
        load_tracepoint(&mut ebpf, program, tracepoint, &btf)?;
    }
    if features.lets_services_leave() {
        load_program(&mut ebpf, CARRY_OUT_ORDERS)?;
    }
    hand_out_indices(&mut ebpf, capacities.services)?;
    Ok(ebpf)
}

/// Opens the object over the maps that an earlier agent pinned. No program is loaded: they are at their hooks.
pub(super) fn open(features: Features, settings: &Settings, pins: &Pins) -> Result<Ebpf, StartError> {
    let maps = pins.maps()?;
    let networks = Networks::of(settings);
    let globals = Globals::of(features, settings.capacities, networks);
    let mut loader = loader(&globals, settings.capacities, networks);
    for (name, path) in &maps {
        loader.map_pin_path(name, path.as_path());
    }
    // Nothing is loaded that would need the kernel's type information, and reading it takes its time.
    let mut ebpf = loader.btf(None).load(OBJECT).map_err(StartError::Object)?;
    pins.demand_maps(&ebpf)?;
    for program in [INTERFACE_RECEIVE, INTERFACE_TRANSMIT] {
        open_program(&mut ebpf, program, pins)?;
    }
    Ok(ebpf)
}

/// Pins the maps, and the programs that are to be attached to interfaces to come.
pub(super) fn pin(ebpf: &mut Ebpf, pins: &Pins) -> Result<(), StartError> {
    pins.pin_maps(ebpf)?;
    for name in [INTERFACE_RECEIVE, INTERFACE_TRANSMIT] {
        let program = ebpf.program_mut(name).ok_or(StartError::Missing { what: "program", name })?;
        pins.pin_program(program, name)?;
    }
    Ok(())
}

/// Puts a pinned program in the place of the object's.
fn open_program(ebpf: &mut Ebpf, name: &'static str, pins: &Pins) -> Result<(), StartError> {
    let path = pins.program(name);
    let program = ebpf.program_mut(name).ok_or(StartError::Missing { what: "program", name })?;
    let opened = SchedClassifier::from_pin(path)
        .map_err(|error| StartError::Program { program: name, reason: reason(&error) })?;
    *program = Program::SchedClassifier(opened);
    Ok(())
}

/// The layout of what [`load`] makes in this way.
pub(super) fn layout(how: &Making) -> Layout {
    Layout::of(OBJECT, how)
}

/// What the programs find set when they are loaded.
struct Globals {
    by_sock_ops: u8,
    cgroups_of_two_versions: u8,
    given_ports: [u16; 2],
    proxies: u8,
    /// 0: routes are not counted.
    routes_per_service: u8,
    series_per_service: u32,
    /// 0: peers are not counted.
    peers_per_service: u32,
    peer_networks: u8,
    /// For how many services requests may be in flight.
    services_with_requests: u32,
    sample_seed: u64,
}

impl Globals {
    fn of(features: Features, capacities: Capacities, networks: Networks<'_>) -> Self {
        Self {
            by_sock_ops: u8::from(features.states == StateSource::SockOps),
            cgroups_of_two_versions: u8::from(features.cgroups == Cgroups::Hybrid),
            given_ports: given_ports(),
            proxies: u8::from(!networks.proxies.are_none()),
            routes_per_service: capacities.routes.map_or(0, |limits| limits.per_service.get()),
            series_per_service: capacities.series_per_service,
            peers_per_service: capacities.peers.map_or(0, |limits| limits.per_service),
            peer_networks: u8::from(!networks.peers.are_none()),
            services_with_requests: if features.reads_heads() { capacities.services } else { 1 },
            // What hash tables of the standard library are seeded with is random.
            sample_seed: RandomState::new().hash_one(()),
        }
    }
}

/// What loads the object, with its settings.
fn loader<'a>(globals: &'a Globals, capacities: Capacities, networks: Networks<'_>) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    let entries = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).max(1);
    if let Some(limits) = capacities.routes {
        loader.map_max_entries("ROUTES", limits.total).map_max_entries("ROUTE_COUNTS", capacities.services);
    }
    if let Some(limits) = capacities.peers {
        loader
            .map_max_entries("PEERS", limits.total)
            .map_max_entries("OTHER_PEERS", capacities.services)
            .map_max_entries("PEER_COUNTS", capacities.services)
            .map_max_entries("LEAVING_PEERS", DEPARTURES);
    }
    loader
        .override_global("STATES_BY_SOCK_OPS", &globals.by_sock_ops, true)
        .override_global("CGROUPS_OF_TWO_VERSIONS", &globals.cgroups_of_two_versions, true)
        .override_global("ROUTES_PER_SERVICE", &globals.routes_per_service, true)
        .override_global("SERIES_QUOTA", &globals.series_per_service, true)
        .override_global("PEERS_PER_SERVICE", &globals.peers_per_service, true)
        .override_global("FIRST_GIVEN_PORT", &globals.given_ports[0], true)
        .override_global("LAST_GIVEN_PORT", &globals.given_ports[1], true)
        .override_global("PROXIES_CONFIGURED", &globals.proxies, true)
        .override_global("PEER_NETWORKS_NAMED", &globals.peer_networks, true)
        .override_global("SAMPLE_SEED", &globals.sample_seed, true)
        .map_max_entries("PROXIES", entries(networks.proxies.entries().len()))
        .map_max_entries("PEER_NETWORKS", entries(networks.peers.entries().len()))
        .map_max_entries("SERVICES", capacities.services)
        .map_max_entries("FREE_SERVICES", capacities.services)
        .map_max_entries("COUNTERS", capacities.services)
        .map_max_entries("AGES", globals.services_with_requests)
        .map_max_entries("INDEX_STATES", capacities.services)
        .map_max_entries("LATENCIES", capacities.series)
        .map_max_entries("SERVICE_ENTRIES", capacities.services)
        .map_max_entries("SAMPLED_ENTRIES", capacities.services)
        .map_max_entries("CLIENTS", capacities.clients);
    loader
}

/// Loads one program.
pub(super) fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<(), StartError> {
    let loaded = match ebpf.program_mut(name) {
        Some(Program::CgroupSkb(program)) => program.load(),
        Some(Program::SockOps(program)) => program.load(),
        Some(Program::CgroupSock(program)) => program.load(),
        Some(Program::SchedClassifier(program)) => program.load(),
        Some(Program::Xdp(program)) => program.load(),
        _ => {
            return Err(StartError::Missing { what: "program", name });
        }
    };
    loaded.map_err(|error| StartError::Program { program: name, reason: reason(&error) })
}

/// Loads the program of a BTF tracepoint.
fn load_tracepoint(
    ebpf: &mut Ebpf,
    name: &'static str,
    tracepoint: &str,
    btf: &Btf,
) -> Result<(), StartError> {
    let Some(Program::BtfTracePoint(program)) = ebpf.program_mut(name) else {
        return Err(StartError::Missing { what: "program", name });
    };
    let loaded = program.load(tracepoint, btf);
    loaded.map_err(|error| StartError::Program { program: name, reason: reason(&error) })
}

/// Fills the table of networks whose proxies are believed.
fn believe(ebpf: &mut Ebpf, proxies: &Proxies) -> Result<(), StartError> {
    const MAP: &str = "PROXIES";
    let map = ebpf.map_mut(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
    let mut trie: LpmTrie<_, [u8; 16], u8> =
        LpmTrie::try_from(map).map_err(|source| StartError::Map { map: MAP, source })?;
    for Entry { address, prefix, believed } in proxies.entries() {
        trie.insert(&Key::new(prefix, address), u8::from(believed), 0)
            .map_err(|source| StartError::Map { map: MAP, source })?;
    }
    Ok(())
}

/// Fills the table of networks that are one peer.
fn number(ebpf: &mut Ebpf, networks: &PeerNetworks) -> Result<(), StartError> {
    const MAP: &str = "PEER_NETWORKS";
    let map = ebpf.map_mut(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
    let mut trie: LpmTrie<_, [u8; 16], u32> =
        LpmTrie::try_from(map).map_err(|source| StartError::Map { map: MAP, source })?;
    for (address, prefix, number) in networks.entries() {
        trie.insert(&Key::new(prefix, address), number, 0)
            .map_err(|source| StartError::Map { map: MAP, source })?;
    }
    Ok(())
}

/// Fills the queue of free indices for services; 0 is not among them, it is the service `other`.
fn hand_out_indices(ebpf: &mut Ebpf, services: u32) -> Result<(), StartError> {
    const MAP: &str = "FREE_SERVICES";
    let map = ebpf.map_mut(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
    let mut free: Queue<_, u32> =
        Queue::try_from(map).map_err(|source| StartError::Map { map: MAP, source })?;
    for index in 1..services {
        free.push(index, 0).map_err(|source| StartError::Map { map: MAP, source })?;
    }
    Ok(())
}
