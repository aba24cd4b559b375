//! The object with the programs and maps: making them, as far as this kernel allows.

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    maps::{
        MapError, Queue,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{BtfTracePoint, Program, SchedClassifier},
};
use probe_common::peer::DEPARTURES;

use super::{
    error::{StartError, reason},
    features::{Features, Tracepoint},
    globals::Globals,
    pinning::{Layout, Making, Pins},
    room,
    task_layout::TaskLayout,
};
use crate::{
    feature::Feature,
    heap,
    peer_networks::PeerNetworks,
    proxies::{Entry, Proxies},
    settings::{Capacities, Settings},
};

/// The kernel side, as `cargo xtask build` made it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/probe-ebpf"));

/// Which hierarchies of cgroups a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cgroups {
    /// That of version 2 alone: a socket's cgroup tells its container.
    Unified,
    /// Those of version 1 too: some containers may be known to these alone.
    Hybrid,
}

// The programs that are the same on every kernel.
pub(super) const DATAGRAM_SOCKETS: &str = "datagram_sockets";
pub(super) const CARRY_OUT_ORDERS: &str = "carry_out_orders";
pub(super) const APPLICATION_READS: &str = "application_reads";
pub(super) const ADOPT: &str = "adopt";
pub(super) const INTERFACE_RECEIVE: &str = "interface_receive";
pub(super) const INTERFACE_TRANSMIT: &str = "interface_transmit";
pub(super) const INTERFACE_DRIVER: &str = "interface_driver";

/// Networks that the kernel side looks addresses up in.
#[derive(Clone, Copy, Debug)]
pub struct Networks<'a> {
    /// Of trusted proxies.
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

/// Makes the maps and loads the programs; attaches none. Features that the kernel refuses are lost, each with the reason.
///
/// # Errors
/// A sentence for each thing that the kernel can refuse and without which nothing is counted.
pub fn load(
    features: &mut Features,
    capacities: Capacities,
    networks: Networks<'_>,
) -> Result<Ebpf, StartError> {
    room::demand(features.sizes(capacities))?;
    if features.has(Feature::KernelTypes)
        && let Err(why) = TaskLayout::of_this_kernel()
    {
        features.lose(Feature::KernelTypes, why);
    }
    loop {
        match try_load(features, capacities, networks) {
            // Loaded anew, since programs and maps were made for it.
            Err(StartError::Without { feature, why }) if features.has(feature) => {
                let types_alone = READ_KERNEL_TYPES.contains(&feature)
                    && features.has(Feature::KernelTypes)
                    && loads_without_types(features, feature, capacities, networks);
                features.lose(if types_alone { Feature::KernelTypes } else { feature }, why);
            }
            loaded => return loaded,
        }
    }
}

/// Features whose programs read tasks and sockets of the kernel where [`Feature::KernelTypes`] is in force.
const READ_KERNEL_TYPES: [Feature; 2] = [Feature::States, Feature::Datagrams];

/// Whether a feature's programs are taken if they read nothing of the kernel's.
fn loads_without_types(
    features: &Features,
    feature: Feature,
    capacities: Capacities,
    networks: Networks<'_>,
) -> bool {
    let mut fewer = features.clone();
    fewer.lose(Feature::KernelTypes, "it is tried without");
    match try_load(&mut fewer, capacities, networks) {
        Ok(_) => fewer.has(feature),
        Err(StartError::Without { feature: refused, .. }) => refused != feature,
        Err(_) => false,
    }
}

fn try_load(
    features: &mut Features,
    capacities: Capacities,
    networks: Networks<'_>,
) -> Result<Ebpf, StartError> {
    let capacities = features.sizes(capacities);
    let globals = Globals::of(features, capacities, networks);
    // The object needs none of the kernel's types: what is read of them has its place in constants. They are parsed behind it, for
    // tracepoints alone: both side by side are what a start once took most memory for.
    let loaded = loader(&globals, features, capacities, networks).btf(None).load(OBJECT);
    let mut ebpf = loaded.map_err(|error| unmade(features, error))?;
    heap::give_back();
    fill_trusted_proxies(&mut ebpf, networks.proxies)?;
    fill_peer_networks(&mut ebpf, networks.peers)?;
    load_requests(&mut ebpf, features)?;
    load_tracepoints(&mut ebpf, features)?;
    heap::give_back();
    let others = [Feature::Datagrams, Feature::Older, Feature::Expiry, Feature::Interfaces, Feature::Xdp];
    for feature in others {
        if features.has(feature)
            && let Err(why) = load_all(&mut ebpf, feature.row().programs)?
        {
            if READ_KERNEL_TYPES.contains(&feature) && features.has(Feature::KernelTypes) {
                return Err(StartError::Without { feature, why });
            }
            features.lose(feature, why);
        }
    }
    hand_out_indices(&mut ebpf, capacities.services)?;
    Ok(ebpf)
}

/// Loads the programs without which nothing is counted: those that read requests, or those that do without.
fn load_requests(ebpf: &mut Ebpf, features: &mut Features) -> Result<(), StartError> {
    if features.has(Feature::Requests) {
        let (receive, transmit) = features.socket_programs();
        match load_all(ebpf, &[receive, transmit, features.connections_program()])? {
            Ok(()) => return Ok(()),
            Err(why) => features.lose(Feature::Requests, why),
        }
    }
    let (receive, transmit) = features.socket_programs();
    for program in [receive, transmit, features.connections_program()] {
        load_program(ebpf, program)?;
    }
    Ok(())
}

/// Loads the programs at tracepoints; without one of them the others have to be told by a constant.
fn load_tracepoints(ebpf: &mut Ebpf, features: &Features) -> Result<(), StartError> {
    let programs = features.tracepoint_programs();
    if programs.is_empty() {
        return Ok(());
    }
    let btf = Btf::from_sys_fs().map_err(StartError::Btf)?;
    for Tracepoint { feature, program: name } in programs {
        let program: &mut BtfTracePoint = ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or(StartError::Missing { what: "program", name })?;
        if let Err(error) = program.load(function_of(name), &btf) {
            let why = StartError::Program { program: name, reason: reason(&error) }.to_string();
            return Err(StartError::Without { feature, why });
        }
    }
    Ok(())
}

/// Loads programs that are of use together only: all of them, or none and the reason why.
fn load_all(ebpf: &mut Ebpf, programs: &[&'static str]) -> Result<Result<(), String>, StartError> {
    for (number, program) in programs.iter().enumerate() {
        match load_program(ebpf, program) {
            Ok(()) => {}
            Err(error @ StartError::Program { .. }) => {
                for loaded in &programs[..number] {
                    unload(ebpf, loaded);
                }
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(()))
}

/// Why there is no object: a map that was refused is lost with its feature, if it has one.
fn unmade(features: &Features, error: EbpfError) -> StartError {
    let EbpfError::MapError(MapError::CreateError { name, io_error }) = error else {
        return StartError::Object(error);
    };
    let error = StartError::MapRefused { flag: flag_of(&name), map: name.clone(), source: io_error };
    match Feature::of_map(&name) {
        Some(feature) if features.has(feature) => StartError::Without { feature, why: error.to_string() },
        _ => error,
    }
}

/// The flag that says how large a map is.
fn flag_of(map: &str) -> Option<&'static str> {
    Some(match map {
        "SERVICES" | "FREE_SERVICES" | "COUNTERS" | "AGES" | "OLD_AGES" | "SERVICE_ENTRIES"
        | "INDEX_STATES" | "SAMPLED_ENTRIES" => "--max-services",
        "LATENCIES" => "--max-series",
        "CLIENTS" => "--max-clients",
        "ROUTES" | "ROUTE_COUNTS" => "--max-routes",
        "PEERS" | "OTHER_PEERS" | "PEER_COUNTS" => "--max-peers",
        _ => return None,
    })
}

/// Opens the object over the maps that an earlier agent pinned. No program is loaded: they are at their hooks.
pub(super) fn open(features: &Features, settings: &Settings, pins: &Pins) -> Result<Ebpf, StartError> {
    let maps = pins.maps()?;
    let (networks, capacities) = (Networks::of(settings), features.sizes(settings.capacities));
    let globals = Globals::of(features, capacities, networks);
    let mut loader = loader(&globals, features, capacities, networks);
    for (name, path) in &maps {
        loader.map_pin_path(name, path.as_path());
    }
    // Nothing is loaded that would need the kernel's type information, and reading it takes its time.
    let mut ebpf = loader.btf(None).load(OBJECT).map_err(StartError::Object)?;
    pins.demand_maps(&ebpf)?;
    for program in to_attach_later(features) {
        open_program(&mut ebpf, program, pins)?;
    }
    Ok(ebpf)
}

/// Pins the maps, and the programs that are to be attached to interfaces to come.
pub(super) fn pin(ebpf: &mut Ebpf, features: &Features, pins: &Pins) -> Result<(), StartError> {
    pins.pin_maps(ebpf)?;
    for name in to_attach_later(features) {
        let program = ebpf.program_mut(name).ok_or(StartError::Missing { what: "program", name })?;
        pins.pin_program(program, name)?;
    }
    Ok(())
}

/// The programs that interfaces which come later are to have.
fn to_attach_later(features: &Features) -> &'static [&'static str] {
    if features.has(Feature::Interfaces) { &[INTERFACE_RECEIVE, INTERFACE_TRANSMIT] } else { &[] }
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

/// What loads the object, with its settings.
fn loader<'a>(
    globals: &'a Globals,
    features: &Features,
    capacities: Capacities,
    networks: Networks<'_>,
) -> EbpfLoader<'a> {
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
    globals.give(&mut loader);
    loader
        .map_max_entries("PROXIES", entries(networks.proxies.entries().len()))
        .map_max_entries("PEER_NETWORKS", entries(networks.peers.entries().len()))
        .map_max_entries("SERVICES", capacities.services)
        .map_max_entries("FREE_SERVICES", capacities.services)
        .map_max_entries("COUNTERS", capacities.services)
        .map_max_entries("AGES", capacities.services)
        .map_max_entries("OLD_AGES", capacities.services)
        .map_max_entries("INDEX_STATES", capacities.services)
        .map_max_entries("LATENCIES", capacities.series)
        .map_max_entries("SERVICE_ENTRIES", capacities.services)
        .map_max_entries("SAMPLED_ENTRIES", capacities.services)
        .map_max_entries("CLIENTS", capacities.clients);
    // Last: maps of what is missing are there, since programs name them, and as small as can be.
    for map in features.missing().flat_map(|(feature, _)| feature.row().maps) {
        loader.map_max_entries(map, 1);
    }
    loader
}

/// Loads one program, if it is not there already.
pub(super) fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<(), StartError> {
    let program = ebpf.program_mut(name).ok_or(StartError::Missing { what: "program", name })?;
    if program.fd().is_ok() {
        return Ok(());
    }
    let loaded = match program {
        Program::CgroupSkb(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        Program::Xdp(program) => program.load(),
        _ => return Err(StartError::Missing { what: "program", name }),
    };
    loaded.map_err(|error| StartError::Program { program: name, reason: reason(&error) })
}

/// Lets go of one that is of no use without another.
fn unload(ebpf: &mut Ebpf, name: &str) {
    let unloaded = match ebpf.program_mut(name) {
        Some(Program::CgroupSkb(program)) => program.unload(),
        Some(Program::SockOps(program)) => program.unload(),
        Some(Program::SchedClassifier(program)) => program.unload(),
        _ => Ok(()),
    };
    if let Err(error) = unloaded {
        tracing::debug!("the program `{name}` stays loaded but unattached: {error}");
    }
}

/// The kernel's function at which a program of a BTF tracepoint is called.
fn function_of(program: &str) -> &'static str {
    if program == APPLICATION_READS { "tcp_rcv_space_adjust" } else { "inet_sock_set_state" }
}

/// Fills the table of trusted proxies' networks.
fn fill_trusted_proxies(ebpf: &mut Ebpf, proxies: &Proxies) -> Result<(), StartError> {
    const MAP: &str = "PROXIES";
    let map = ebpf.map_mut(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
    let mut trie: LpmTrie<_, [u8; 16], u8> =
        LpmTrie::try_from(map).map_err(|source| StartError::Map { map: MAP, source })?;
    for Entry { address, prefix, trusted } in proxies.entries() {
        trie.insert(&Key::new(prefix, address), u8::from(trusted), 0)
            .map_err(|source| StartError::Map { map: MAP, source })?;
    }
    Ok(())
}

/// Fills the table of networks that are one peer.
fn fill_peer_networks(ebpf: &mut Ebpf, networks: &PeerNetworks) -> Result<(), StartError> {
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
