//! The maps. Capacities are those of the defaults: the agent sets them before it loads.
//!
//! What programs add entries to is allocated at load. The kernel's allocator for BPF refills its stock of each CPU only
//! behind an interrupt, so that a burst of new entries found it empty, and requests were lost while the table was too.
//!
//! | map | key | value | bytes an entry | written by | deleted by | when full |
//! |---|---|---|---|---|---|---|
//! | `SOCKETS` | socket | `Connection` | 1 KiB a socket | socket and connection programs | the kernel, with the socket | `socket_state` |
//! | `PROXIED` | socket | `Proxied` | 0.2 KiB a proxy's socket | socket and connection programs | the kernel, with the socket | `socket_state` |
//! | `PROXIES` | network | whether trusted | 40 | agent, before programs are loaded | never | cannot be |
//! | `DATAGRAMS` | UDP socket | `DatagramSocket` | 128 a socket | `datagram_sockets`, socket programs | the kernel, with the socket | `socket_state` |
//! | `SERVICES` | `ServiceKey` | `ServiceEntry` | 108 | whoever sees a service first | agent, when idle | counted to service 0 |
//! | `ROUTES` | `RouteKey` | index | 130 | whoever sees a route first | agent, with the service | `routes_full`, and to route 0 |
//! | `ROUTE_COUNTS` | service index | count | 8 | whoever sees a route first | agent, with the service | `routes_full`, and to route 0 |
//! | `FREE_SERVICES` | | index | 4 | agent; whoever loses a race | whoever sees a service first | cannot be |
//! | `COUNTERS` | service index | `ServiceCounters` | 112 a CPU | socket and connection programs | agent, with the service | cannot be |
//! | `LATENCIES` | `LatencyKey` | `LatencyCell` | 80 + 16 a CPU | socket programs, `carry_out_orders` | agent, with the service; `carry_out_orders` | `latency_full` |
//! | `SERVICE_ENTRIES` | service index | entries in `LATENCIES` that take of the quota | 8 | socket programs | agent, as it deletes those | cannot be |
//! | `LEAVING` | `LatencyKey` | `LatencyCell` | 80 | agent, socket programs | `carry_out_orders` | cannot be: the agent makes the entries |
//! | `DIVERTED` | 0 | whether to look there first | 8 | agent | never | cannot be |
//! | `ORDERS` | number | `Order` | 56 | agent, `carry_out_orders` | never | cannot be |
//! | `CLIENTS` | `ClientKey` | `Client` | 100 | connection programs | agent | `clients_full`, and to `SAMPLED` |
//! | `SAMPLED` | `ClientKey` | `SampledClient` | 112 | socket and connection programs | agent | `sample_full` |
//! | `SAMPLED_ENTRIES` | service index | entries in `SAMPLED` | 8 | socket and connection programs, agent | agent, with the service | cannot be |
//! | `SAMPLED_TOTAL` | 0 | entries in `SAMPLED` | 8 | socket and connection programs, agent | never | cannot be |
//! | `PEERS` | `PeerKey` | `PeerCell` | 72 + 48 a CPU | socket and connection programs | agent, when idle or with the service | `peers_full`, and to `OTHER_PEERS` |
//! | `OTHER_PEERS` | service index | `PeerCell` | 40 a CPU | socket and connection programs | agent, with the service | cannot be |
//! | `PEER_COUNTS` | service index | entries in `PEERS` | 8 | socket and connection programs | agent, as it deletes those | cannot be |
//! | `LEAVING_PEERS` | `PeerKey` | 0 | 80 | agent | agent | cannot be |
//! | `PEERS_CLOSED` | 0 | whether some leave | 8 | agent | never | cannot be |
//! | `PEER_NETWORKS` | network | its number | 40 | agent, before programs are loaded | never | cannot be |
//! | `EMPTY_PEER` | 0 | `PeerCell` | 40 | nobody | never | cannot be |
//! | `INTERFACES` | interface index | `InterfaceCounters` | 392 a CPU | interface programs | agent | cannot be: the agent makes the entries |
//! | `UNMEASURED` | `Reason` | count | 8 a CPU | all | never | cannot be |
//! | `SCRATCH` | slot | `Scratch` | 1.1 KiB a CPU | socket programs | never | `no_buffer` |
//! | `EARLY` | 0 | `Early` | 1 KiB a CPU | socket and connection programs | never | cannot be |
//! | `INDEX_STATES` | service index | `IndexState` | 16 | agent, `carry_out_orders` | never | cannot be |
//! | `AGES` | service index | `Young` | 128 a CPU | socket and connection programs | agent, with the service | cannot be |
//! | `OLD_AGES` | service index | `Old` | 1,024 | socket and connection programs | agent, with the service | cannot be |
//! | `TRIAL` | 0 | `Connection` | 1 KiB | tests, `trial_*` | never | cannot be |
//! | `TRIAL_UNDO` | 0 | `Undo` | 1 KiB | benchmarks | never | cannot be |
//! | `TRIAL_COUNTED` | 0 | count | 8 a CPU | `trial_interrupt` | never | cannot be |
//! | `COMPLAINTS` | `Reason` | time | 8 | all | never | cannot be |

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, bpf_map_type::BPF_MAP_TYPE_SK_STORAGE},
    macros::{btf_map, map},
    maps::{Array, HashMap, LpmTrie, PerCpuArray, PerCpuHashMap, Queue},
};
use probe_common::{
    ages::{Old, Young},
    connection::Connection,
    counters::ServiceCounters,
    datagram::DatagramSocket,
    exchange::{LatencyCell, LatencyKey},
    interface::InterfaceCounters,
    order::{ORDERS as MOST_ORDERS, Order},
    peer::{PeerCell, PeerKey},
    proxied::Proxied,
    reason::Reason,
    route::RouteKey,
    sample::{ROOM as SAMPLE_ROOM, SampledClient},
    service::{IndexState, ServiceEntry, ServiceKey},
    user::{Client, ClientKey},
};

use crate::{
    hooks::{early::Early, trial::Undo},
    scratch::{SLOTS, Scratch},
};

/// Definition of a map of socket storage, as BTF: aya-ebpf's own has no room for flags.
#[repr(C)]
pub struct SocketStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the pointers are never followed; they are there for their types.
unsafe impl<T> Sync for SocketStorage<T> {}

impl<T> SocketStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }

    /// What the helpers take.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut c_void {
        core::ptr::from_ref(self).cast_mut().cast()
    }
}

/// The state of each socket. `BPF_F_CLONE` (kernel 5.4): a connection that is accepted starts with its listener's,
/// and so knows its service without a look-up.
#[btf_map]
pub static SOCKETS: SocketStorage<Connection> = SocketStorage::new();

/// What else is kept of the sockets whose peer is a trusted proxy.
#[btf_map]
pub static PROXIED: SocketStorage<Proxied> = SocketStorage::new();

/// Networks of proxies, IPv4 as IPv4-mapped IPv6: 1 where a proxy is trusted.
#[map]
pub static PROXIES: LpmTrie<[u8; 16], u8> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

/// The state of each UDP socket.
#[btf_map]
pub static DATAGRAMS: SocketStorage<DatagramSocket> = SocketStorage::new();

#[map]
pub static SERVICES: HashMap<ServiceKey, ServiceEntry> = HashMap::with_max_entries(4096, 0);

#[map]
pub static FREE_SERVICES: Queue<u32> = Queue::with_max_entries(4096, 0);

/// The routes of all services: the index of each among those of its service. One entry unless routes are counted.
#[map]
pub static ROUTES: HashMap<RouteKey, u32> = HashMap::with_max_entries(1, 0);

/// How many routes a service has: the highest index that was given out. One entry unless routes are counted.
#[map]
pub static ROUTE_COUNTS: Array<u64> = Array::with_max_entries(1, 0);

#[map]
pub static COUNTERS: PerCpuArray<ServiceCounters> = PerCpuArray::with_max_entries(4096, 0);

/// Preallocated: an entry made on demand comes from a small store of the CPU's, which a burst of new ones empties faster
/// than the kernel fills it, and requests would be lost with the table nearly empty.
#[map]
pub static LATENCIES: PerCpuHashMap<LatencyKey, LatencyCell> = PerCpuHashMap::with_max_entries(65_536, 0);

/// How many of them each service has. Counted when one is made, which is rare.
#[map]
pub static SERVICE_ENTRIES: Array<u64> = Array::with_max_entries(4096, 0);

/// How many of them a service may have.
#[unsafe(no_mangle)]
pub static SERIES_QUOTA: Global<u32> = Global::new(8192);

/// What is counted for entries of `LATENCIES` while these are leaving: see [`probe_common::order`].
#[map]
pub static LEAVING: HashMap<LatencyKey, LatencyCell> = HashMap::with_max_entries(MOST_ORDERS, 0);

/// Whether programs are to look there first.
#[map]
pub static DIVERTED: Array<u64> = Array::with_max_entries(1, 0);

/// What the agent wants done to entries of `LATENCIES`.
#[map]
pub static ORDERS: Array<Order> = Array::with_max_entries(MOST_ORDERS, 0);

#[map]
pub static CLIENTS: HashMap<ClientKey, Client> = HashMap::with_max_entries(262_144, 0);

/// A sample of the clients that found no room in `CLIENTS`: see [`probe_common::sample`].
#[map]
pub static SAMPLED: HashMap<ClientKey, SampledClient> = HashMap::with_max_entries(SAMPLE_ROOM, 0);

/// How many of them each service has. Counted when one is made, set right by the agent, once a pass.
#[map]
pub static SAMPLED_ENTRIES: Array<u64> = Array::with_max_entries(4096, 0);

/// How many there are.
#[map]
pub static SAMPLED_TOTAL: Array<u64> = Array::with_max_entries(1, 0);

/// What the choice of them depends on beside the address: a number that nobody can guess.
#[unsafe(no_mangle)]
pub static SAMPLE_SEED: Global<u64> = Global::new(0);

/// Who the services talk with. One entry, as are the others of peers, unless these are counted.
#[map]
pub static PEERS: PerCpuHashMap<PeerKey, PeerCell> = PerCpuHashMap::with_max_entries(1, 0);

/// What stands for all peers of a service that found no room.
#[map]
pub static OTHER_PEERS: PerCpuArray<PeerCell> = PerCpuArray::with_max_entries(1, 0);

/// How many peers each service has. Counted when one is made, which is rare.
#[map]
pub static PEER_COUNTS: Array<u64> = Array::with_max_entries(1, 0);

/// Peers that are leaving: see [`probe_common::peer::CLOSED`].
#[map]
pub static LEAVING_PEERS: HashMap<PeerKey, u32> = HashMap::with_max_entries(1, 0);

/// Whether any are.
#[map]
pub static PEERS_CLOSED: Array<u64> = Array::with_max_entries(1, 0);

/// What a new peer is copied from: it has no room on a program's stack.
#[map]
pub static EMPTY_PEER: Array<PeerCell> = Array::with_max_entries(1, 0);

/// Networks whose addresses are one peer, IPv4 as IPv4-mapped IPv6: their number.
#[map]
pub static PEER_NETWORKS: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);

/// Whether there are such networks.
#[unsafe(no_mangle)]
pub static PEER_NETWORKS_NAMED: Global<u8> = Global::new(0);

/// How many peers a service may have; 0 if they are not counted.
#[unsafe(no_mangle)]
pub static PEERS_PER_SERVICE: Global<u32> = Global::new(0);

#[map]
pub static INTERFACES: PerCpuHashMap<u32, InterfaceCounters> =
    PerCpuHashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

#[map]
pub static UNMEASURED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Reason::COUNT, 0);

#[map]
pub static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(SLOTS, 0);

/// What came to a listener for a connection that is about to be.
#[map]
pub static EARLY: PerCpuArray<Early> = PerCpuArray::with_max_entries(1, 0);

/// When each service's requests in flight began. One entry unless requests are counted.
#[map]
pub static AGES: PerCpuArray<Young> = PerCpuArray::with_max_entries(1, 0);

/// The same of those that began longer ago, by all CPUs together.
#[map]
pub static OLD_AGES: Array<Old> = Array::with_max_entries(1, 0);

/// Who may use each service's index.
#[map]
pub static INDEX_STATES: Array<IndexState> = Array::with_max_entries(4096, 0);

/// The connection that `trial_receive` and `trial_transmit` work on.
#[map]
pub static TRIAL: Array<Connection> = Array::with_max_entries(1, 0);

/// What they undo in it before each run.
#[map]
pub static TRIAL_UNDO: Array<Undo> = Array::with_max_entries(1, 0);

/// How many requests `trial_interrupt` has counted, or tried to.
#[map]
pub static TRIAL_COUNTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static COMPLAINTS: Array<u64> = Array::with_max_entries(Reason::COUNT, 0);

/// The first of the ports that the kernel gives to sockets that ask for none: those of IANA's dynamic range as Linux has it.
#[unsafe(no_mangle)]
pub static FIRST_GIVEN_PORT: Global<u16> = Global::new(32_768);

/// The last of them.
#[unsafe(no_mangle)]
pub static LAST_GIVEN_PORT: Global<u16> = Global::new(60_999);

/// Whether `application_reads` tells when an application has read; without it nobody knows the phases queue and service.
#[unsafe(no_mangle)]
pub static READS_ARE_TOLD: Global<u8> = Global::new(1);

/// Whether closes come from `sock_ops`, where the tracepoint cannot be had (before kernel 5.11 it cannot use socket storage).
#[unsafe(no_mangle)]
pub static STATES_BY_SOCK_OPS: Global<u8> = Global::new(0);

/// Whether the host has hierarchies of cgroup v1 beside that of v2.
#[unsafe(no_mangle)]
pub static CGROUPS_OF_TWO_VERSIONS: Global<u8> = Global::new(0);

/// Whether there is a trusted proxy.
#[unsafe(no_mangle)]
pub static PROXIES_CONFIGURED: Global<u8> = Global::new(0);

/// How many routes a service may have, up to 255; 0 if routes are not counted.
#[unsafe(no_mangle)]
pub static ROUTES_PER_SERVICE: Global<u8> = Global::new(0);

/// Where a task has its main thread, in bytes, by the kernel's own description of its types; 0 if that is not known, and then
/// neither are the two below.
#[unsafe(no_mangle)]
pub static LEADER_AT: Global<u32> = Global::new(0);

/// Where a task has its name.
#[unsafe(no_mangle)]
pub static COMMAND_AT: Global<u32> = Global::new(0);

/// Where a socket has the port that it connects to.
#[unsafe(no_mangle)]
pub static REMOTE_PORT_AT: Global<u32> = Global::new(0);
