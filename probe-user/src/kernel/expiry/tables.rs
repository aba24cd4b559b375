//! The kernel's tables, as far as services are taken from them.

use std::{collections::BTreeSet, io};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues, Queue},
    util::nr_cpus,
};
use probe_common::{
    ages::{Old, Young},
    counters::ServiceCounters,
    exchange::{LatencyCell, LatencyKey},
    peer::{PeerCell, PeerKey},
    route::RouteKey,
    sample::SampledClient,
    service::{ServiceEntry, ServiceKey},
    user::{Client, ClientKey},
};

use super::Parked;
use crate::kernel::{
    batch::Batched,
    error::{CollectError, StartError},
    sharing::shared,
};

/// What services have entries in.
pub(super) struct Tables {
    services: HashMap<MapData, ServiceKey, ServiceEntry>,
    free: Queue<MapData, u32>,
    counters: PerCpuArray<MapData, ServiceCounters>,
    ages: PerCpuArray<MapData, Young>,
    old_ages: Array<MapData, Old>,
    latencies: PerCpuHashMap<MapData, LatencyKey, LatencyCell>,
    all_latencies: Batched<LatencyKey, LatencyCell>,
    entries: Array<MapData, u64>,
    routes: HashMap<MapData, RouteKey, u32>,
    route_counts: Array<MapData, u64>,
    peers: PerCpuHashMap<MapData, PeerKey, PeerCell>,
    other_peers: PerCpuArray<MapData, PeerCell>,
    peer_counts: Array<MapData, u64>,
    clients: HashMap<MapData, ClientKey, Client>,
    all_clients: Batched<ClientKey, Client>,
    sampled: HashMap<MapData, ClientKey, SampledClient>,
    all_sampled: Batched<ClientKey, SampledClient>,
    sampled_entries: Array<MapData, u64>,
}

/// A deletion of what is gone is none.
pub(in crate::kernel) fn deleted(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The keys that are wanted, all read before any is deleted: behind a deletion the kernel begins anew.
fn chosen<K>(
    keys: impl Iterator<Item = Result<K, MapError>>,
    wanted: impl Fn(&K) -> bool,
) -> Result<Vec<K>, MapError> {
    keys.filter(|key| key.as_ref().map_or(true, &wanted)).collect()
}

impl Tables {
    pub(super) fn take(ebpf: &Ebpf) -> Result<Self, StartError> {
        Ok(Self {
            services: shared(ebpf, "SERVICES")?,
            free: shared(ebpf, "FREE_SERVICES")?,
            counters: shared(ebpf, "COUNTERS")?,
            ages: shared(ebpf, "AGES")?,
            old_ages: shared(ebpf, "OLD_AGES")?,
            latencies: shared(ebpf, "LATENCIES")?,
            all_latencies: Batched::of(ebpf, "LATENCIES")?,
            entries: shared(ebpf, "SERVICE_ENTRIES")?,
            routes: shared(ebpf, "ROUTES")?,
            route_counts: shared(ebpf, "ROUTE_COUNTS")?,
            peers: shared(ebpf, "PEERS")?,
            other_peers: shared(ebpf, "OTHER_PEERS")?,
            peer_counts: shared(ebpf, "PEER_COUNTS")?,
            clients: shared(ebpf, "CLIENTS")?,
            all_clients: Batched::of(ebpf, "CLIENTS")?,
            sampled: shared(ebpf, "SAMPLED")?,
            all_sampled: Batched::of(ebpf, "SAMPLED")?,
            sampled_entries: shared(ebpf, "SAMPLED_ENTRIES")?,
        })
    }

    /// The index under which a service is found.
    pub(super) fn index(&self, key: &ServiceKey) -> Option<u32> {
        self.services.get(key, 0).ok().map(|entry| entry.index)
    }

    /// The indices of all services that can be found.
    pub(super) fn used_indices(&self) -> Result<BTreeSet<u32>, CollectError> {
        let used = self.services.iter().map(|entry| entry.map(|(_, service)| service.index));
        used.collect::<Result<_, _>>().map_err(CollectError::of_map("SERVICES"))
    }

    /// Notes a service, and takes its key from the table.
    pub(super) fn park(
        &mut self,
        parked: &mut Parked,
        key: ServiceKey,
        entry: ServiceEntry,
    ) -> Result<(), CollectError> {
        parked.park(key, entry)?;
        deleted(self.services.remove(&key)).map_err(CollectError::of_map("SERVICES"))
    }

    /// Clears away all that was counted under these indices, which nobody uses.
    pub(super) fn clear(&mut self, indices: &BTreeSet<u32>) -> Result<(), CollectError> {
        self.clear_latencies(indices).map_err(CollectError::of_map("LATENCIES"))?;
        self.clear_routes(indices).map_err(CollectError::of_map("ROUTES"))?;
        self.clear_peers(indices).map_err(CollectError::of_map("PEERS"))?;
        self.clear_clients(indices).map_err(CollectError::of_map("CLIENTS"))?;
        self.clear_sampled(indices).map_err(CollectError::of_map("SAMPLED"))?;
        let cpus = nr_cpus()
            .map_err(|(_, source)| MapError::IoError(source))
            .map_err(CollectError::of_map("COUNTERS"))?;
        for &index in indices {
            let zeros = PerCpuValues::try_from(vec![ServiceCounters::default(); cpus]);
            let zeros = zeros.map_err(MapError::IoError).map_err(CollectError::of_map("COUNTERS"))?;
            self.counters.set(index, zeros, 0).map_err(CollectError::of_map("COUNTERS"))?;
            if index < self.ages.len() {
                let zeros = PerCpuValues::try_from(vec![Young::default(); cpus]);
                let zeros = zeros.map_err(MapError::IoError).map_err(CollectError::of_map("AGES"))?;
                self.ages.set(index, zeros, 0).map_err(CollectError::of_map("AGES"))?;
                self.old_ages.set(index, Old::default(), 0).map_err(CollectError::of_map("OLD_AGES"))?;
            }
            self.entries.set(index, 0, 0).map_err(CollectError::of_map("SERVICE_ENTRIES"))?;
            self.sampled_entries.set(index, 0, 0).map_err(CollectError::of_map("SAMPLED_ENTRIES"))?;
            if index < self.route_counts.len() {
                self.route_counts.set(index, 0, 0).map_err(CollectError::of_map("ROUTE_COUNTS"))?;
            }
        }
        Ok(())
    }

    /// Shows every entry of the histograms, of all CPUs together.
    pub(super) fn for_each_latency(
        &mut self,
        mut visit: impl FnMut(&LatencyKey, &LatencyCell),
    ) -> Result<(), CollectError> {
        let read = self.all_latencies.for_each(|key, cells| visit(key, &cells.iter().sum()));
        read.map_err(MapError::IoError).map_err(CollectError::of_map("LATENCIES"))
    }

    /// What an entry of the histograms has, if it is there.
    pub(super) fn latency(&self, key: &LatencyKey) -> Result<Option<LatencyCell>, CollectError> {
        match self.latencies.get(key, 0) {
            Ok(cells) => Ok(Some(cells.iter().sum())),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(CollectError::of_map("LATENCIES")(error)),
        }
    }

    fn clear_latencies(&mut self, indices: &BTreeSet<u32>) -> Result<(), MapError> {
        let gone =
            self.all_latencies.keys(|key| indices.contains(&key.service)).map_err(MapError::IoError)?;
        gone.iter().try_for_each(|key| deleted(self.latencies.remove(key)))
    }

    fn clear_routes(&mut self, indices: &BTreeSet<u32>) -> Result<(), MapError> {
        let gone = chosen(self.routes.keys(), |key| indices.contains(&key.service))?;
        gone.iter().try_for_each(|key| deleted(self.routes.remove(key)))
    }

    /// Where peers are not counted, the tables have a place each, which no service uses.
    fn clear_peers(&mut self, indices: &BTreeSet<u32>) -> Result<(), MapError> {
        let gone = chosen(self.peers.keys(), |key| indices.contains(&key.service))?;
        gone.iter().try_for_each(|key| deleted(self.peers.remove(key)))?;
        let cpus = nr_cpus().map_err(|(_, source)| MapError::IoError(source))?;
        let room = self.peer_counts.len();
        for &index in indices.iter().filter(|index| **index < room) {
            let zeros = PerCpuValues::try_from(vec![PeerCell::default(); cpus]).map_err(MapError::IoError)?;
            self.other_peers.set(index, zeros, 0)?;
            self.peer_counts.set(index, 0, 0)?;
        }
        Ok(())
    }

    /// Who was heard within the users' window may be a user of a service that leaves before that is over.
    fn clear_clients(&mut self, indices: &BTreeSet<u32>) -> Result<(), MapError> {
        let gone = self.all_clients.keys(|key| indices.contains(&key.service)).map_err(MapError::IoError)?;
        gone.iter().try_for_each(|key| deleted(self.clients.remove(key)))
    }

    fn clear_sampled(&mut self, indices: &BTreeSet<u32>) -> Result<(), MapError> {
        let gone = self.all_sampled.keys(|key| indices.contains(&key.service)).map_err(MapError::IoError)?;
        gone.iter().try_for_each(|key| deleted(self.sampled.remove(key)))
    }

    /// Gives an index to whoever comes next.
    pub(super) fn give_back(&mut self, index: u32) -> Result<(), CollectError> {
        self.free.push(index, 0).map_err(CollectError::of_map("FREE_SERVICES"))
    }

    /// Takes all indices that are free.
    pub(super) fn drain_free(&mut self) -> Result<BTreeSet<u32>, CollectError> {
        let mut free = BTreeSet::new();
        loop {
            match self.free.pop(0) {
                Ok(index) => _ = free.insert(index),
                Err(MapError::ElementNotFound) => return Ok(free),
                Err(error) => return Err(CollectError::of_map("FREE_SERVICES")(error)),
            }
        }
    }
}
