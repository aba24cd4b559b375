//! The one place where the kernel's maps are read.

use std::{
    collections::{BTreeMap, HashMap as StdHashMap},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, PerCpuArray},
    util::nr_cpus,
};
use probe_common::{
    counters::ServiceCounters,
    interface::{Transport, Way},
    protocol::Protocol,
    reason::Reason,
    service::{OTHER, Role, ServiceEntry, ServiceKey},
};

use super::{
    batch::Batched,
    clock,
    error::{CollectError, StartError},
    expiry::{Expiry, Filling, Leaving},
    histograms::{self, Histograms},
    interfaces::Interfaces,
    memory::Memory,
    names::Names,
    oldest::OldestRequests,
    peers::Peers,
    routes::Routes,
    users::UserMaps,
};
use crate::{
    attribution::Attribution,
    feature::FeatureState,
    identity::{Identity, Kept},
    scrapers::Shown,
    settings::Settings,
    snapshot::{Service, ServiceId, Snapshot, Table},
};

/// The maps that the agent reads.
pub(super) struct Maps {
    services: Batched<ServiceKey, ServiceEntry>,
    counters: PerCpuArray<MapData, ServiceCounters>,
    histograms: Histograms,
    users: UserMaps,
    /// If they are counted.
    pub(super) routes: Option<Routes>,
    /// If they are counted.
    pub(super) peers: Option<Peers>,
    unmeasured: PerCpuArray<MapData, u64>,
    oldest: Option<OldestRequests>,
    /// What takes services away that are idle; none if they stay.
    pub(super) expiry: Option<Expiry>,
    /// Where names are kept for the next agent, if there is to be one.
    kept: Option<Names>,
    /// Who the services were at the last pass, by their index.
    named: StdHashMap<u32, ServiceId>,
    capacities: [u64; 6],
    memory: Memory,
}

/// Who the services are.
struct Named {
    /// By their index; those that have no name yet are left out.
    names: StdHashMap<u32, ServiceId>,
    /// By what the kernel knows these, by their index.
    keys: StdHashMap<u32, (ServiceKey, ServiceEntry)>,
    /// How many entries their table has.
    entries: u64,
}

/// A map of the object, as the type that the agent reads it by.
pub(super) fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    map: &'static str,
) -> Result<T, StartError> {
    let taken = ebpf.take_map(map).ok_or(StartError::Missing { what: "map", name: map })?;
    T::try_from(taken).map_err(|source| StartError::Map { map, source })
}

impl Maps {
    pub(super) fn take(
        ebpf: &mut Ebpf,
        settings: &Settings,
        oldest: Option<OldestRequests>,
        expiry: Option<Expiry>,
        kept: Option<Names>,
    ) -> Result<Self, StartError> {
        let sizes = settings.capacities;
        let capacity = |ebpf: &Ebpf, map| capacity(ebpf, map).unwrap_or_default();
        let capacities =
            ["SERVICES", "LATENCIES", "CLIENTS", "SAMPLED", "ROUTES", "PEERS"].map(|map| capacity(ebpf, map));
        let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error));
        let cpus = cpus.map_err(|source| StartError::Map { map: "COUNTERS", source })?;
        let memory = Memory::of(sizes, cpus);
        Ok(Self {
            services: Batched::of(ebpf, "SERVICES")?,
            counters: take(ebpf, "COUNTERS")?,
            histograms: Histograms::take(ebpf)?,
            users: UserMaps::take(ebpf)?,
            routes: sizes.routes.map(|_| Routes::take(ebpf)).transpose()?,
            peers: sizes.peers.map(|_| Peers::take(ebpf, settings)).transpose()?,
            unmeasured: take(ebpf, "UNMEASURED")?,
            oldest,
            expiry,
            kept,
            named: StdHashMap::new(),
            capacities,
            memory,
        })
    }

    /// Tells the names that an earlier agent gave.
    pub(super) fn recall_names(&mut self, attribution: &mut Attribution) {
        for (key, kept) in self.kept.iter_mut().flat_map(Names::read) {
            attribution.recall(key, kept);
        }
    }

    /// One pass.
    pub(super) fn collect(
        &mut self,
        users_window: Duration,
        shown: Shown,
        attribution: &mut Attribution,
        interfaces: Option<&mut Interfaces>,
        features: Vec<FeatureState>,
    ) -> Result<Snapshot, CollectError> {
        let taken = Instant::now();
        let Named { names, keys, entries } = self.names(attribution)?;
        let users = self.users.count(clock::now(), users_window).map_err(CollectError::of_map("CLIENTS"))?;
        let mut services = BTreeMap::new();
        let mut waiting = Vec::new();
        for (&index, id) in &names {
            let service = services.entry(id.clone()).or_default();
            let counters = self.counters(index)?;
            if add_counters(service, &counters) > 0 {
                waiting.push(index);
            }
            let users = users.by_service.get(&index).copied().unwrap_or_default();
            service.users += users;
            if let Some(expiry) = &mut self.expiry {
                expiry.note(index, counters, users, taken);
            }
        }
        self.add_ages(&waiting, &names, &mut services)?;
        // Of the service that stands for all that found no room, only what it has is shown.
        services.retain(|id, service| id.port != 0 || *service != Service::default());
        let series = self.add_latencies(&names, &mut services)?;
        if let Some(peers) = &mut self.peers {
            peers.collect(&names, &mut services, taken)?;
        }
        let filling = Filling { entries, capacity: self.capacities[0] };
        let leaving = Leaving { names: &names, keys: &keys, filling, shown };
        self.expire(&leaving, attribution, &mut services, taken);
        let routes = self.routes.as_ref().map_or(0, Routes::entries);
        let peers = self.peers.as_ref().map_or(0, Peers::entries);
        let tables = self.tables([entries, series, users.entries, users.sampled, routes, peers]);
        let counted = interfaces.map(Interfaces::volumes).transpose();
        let counted = counted.map_err(CollectError::of_map("INTERFACES"))?;
        let (interfaces, node) = counted.map_or_else(Default::default, |(each, all)| (each, Some(all)));
        self.named = names;
        Ok(Snapshot {
            taken,
            services,
            interfaces,
            node,
            unmeasured: self.unmeasured()?,
            tables,
            features,
            collection: taken.elapsed(),
        })
    }

    /// Who a service was at the last pass.
    pub(super) fn named(&self, index: u32) -> Option<&ServiceId> {
        self.named.get(&index)
    }

    /// How full the tables are that have so many entries.
    fn tables(&self, entries: [u64; 6]) -> Vec<Table> {
        let memory = &self.memory;
        let (clients, sampled) = (memory.clients(), memory.sampled_clients());
        let bytes = [memory.services(), memory.series(), clients, sampled, memory.routes(), memory.peers()];
        ["services", "series", "clients", "sampled_clients", "routes", "peers"]
            .into_iter()
            .zip(entries)
            .zip(self.capacities)
            .zip(bytes)
            .map(|(((name, entries), capacity), bytes)| Table { name, entries, capacity, bytes })
            .filter(|table| match table.name {
                "routes" => self.routes.is_some(),
                "peers" => self.peers.is_some(),
                _ => true,
            })
            .collect()
    }

    /// Who the services are, by their index.
    fn names(&mut self, attribution: &mut Attribution) -> Result<Named, CollectError> {
        let mut entries = 0;
        let mut given: StdHashMap<ServiceKey, Kept> = StdHashMap::new();
        let (mut names, mut keys) = (StdHashMap::new(), StdHashMap::new());
        let other = ServiceId {
            identity: Identity::named("other"),
            port: 0,
            role: Role::Server,
            transport: Transport::Tcp,
        };
        names.insert(OTHER, other);
        let is_kept = self.kept.is_some();
        // One that has no name yet waits for the next pass: its counters are totals.
        let mut note = |key: &ServiceKey, entry: &ServiceEntry| {
            entries += 1;
            let Some(identity) = attribution.name(key, entry) else { return };
            let role = Role::from_key(key.role).unwrap_or_default();
            let transport = key.transport();
            let id = ServiceId { identity: identity.clone(), port: key.port, role, transport };
            names.insert(entry.index, id);
            keys.insert(entry.index, (*key, *entry));
            if is_kept {
                given.insert(*key, Kept { identity, pod: attribution.pod_of(key) });
            }
        };
        let read = self.services.for_each(|key, value| {
            let [entry] = value else { return };
            note(key, entry);
        });
        read.map_err(MapError::IoError).map_err(CollectError::of_map("SERVICES"))?;
        for (key, entry) in self.expiry.iter().flat_map(|expiry| expiry.parked().staying()) {
            note(key, &entry);
        }
        if let Some(kept) = &mut self.kept {
            kept.keep(&given);
        }
        Ok(Named { names, keys, entries })
    }

    /// The counters of a service, of all CPUs together. They are read one after the other, so that what one counted
    /// may be seen without what another had counted before.
    pub(super) fn counters(&self, index: u32) -> Result<ServiceCounters, CollectError> {
        let mut sum = ServiceCounters::default();
        for cpu in self.counters.get(&index, 0).map_err(CollectError::of_map("COUNTERS"))?.iter() {
            sum.add(cpu);
        }
        Ok(sum)
    }

    /// Adds how long the oldest requests of these services have waited.
    fn add_ages(
        &self,
        waiting: &[u32],
        names: &StdHashMap<u32, ServiceId>,
        services: &mut BTreeMap<ServiceId, Service>,
    ) -> Result<(), CollectError> {
        let Some(oldest) = &self.oldest else { return Ok(()) };
        // It can be told: where nothing waits, that nothing does.
        for waiting in services.values_mut().flat_map(|service| service.in_flight.values_mut()) {
            waiting.oldest = Some(Duration::ZERO);
        }
        for (index, age) in oldest.ages(waiting)? {
            let service = names.get(&index).and_then(|id| services.get_mut(id));
            let Some(service) = service else { continue };
            // One protocol so far: a service that speaks several has one oldest request of all.
            for waiting in service.in_flight.values_mut().filter(|waiting| waiting.requests > 0) {
                waiting.oldest = waiting.oldest.max(Some(age));
            }
        }
        Ok(())
    }

    /// Adds the histograms, and returns how many entries there are.
    fn add_latencies(
        &mut self,
        names: &StdHashMap<u32, ServiceId>,
        services: &mut BTreeMap<ServiceId, Service>,
    ) -> Result<u64, CollectError> {
        let read = self.histograms.read().map_err(MapError::IoError);
        let entries = read.map_err(CollectError::of_map("LATENCIES"))?;
        let routes = &mut self.routes;
        routes.iter_mut().for_each(Routes::begin_pass);
        for (index, of_service) in self.histograms.by_service() {
            // A service that has no name yet, or came after the names were read, waits likewise.
            let Some(id) = names.get(&index) else { continue };
            let template = |route| routes.as_mut().map(|routes| routes.template(index, route)).transpose();
            let gathered =
                histograms::gather(of_service, template).map_err(CollectError::of_map("ROUTES"))?;
            match services.get_mut(id) {
                Some(service) => service.merge_histograms(gathered),
                None => services.entry(id.clone()).or_default().merge_histograms(gathered),
            }
        }
        Ok(entries)
    }

    fn unmeasured(&self) -> Result<Vec<(Reason, u64)>, CollectError> {
        Reason::ALL
            .into_iter()
            .map(|reason| {
                let counts =
                    self.unmeasured.get(&(reason as u32), 0).map_err(CollectError::of_map("UNMEASURED"))?;
                Ok((reason, counts.iter().sum()))
            })
            .collect()
    }
}

/// Adds what the kernel counted of a service, and returns how many requests of it are in flight.
fn add_counters(service: &mut Service, sum: &ServiceCounters) -> u64 {
    service.received.add(sum.received);
    service.sent.add(sum.sent);
    service.wire[Way::Receive as usize] += sum.received_wire;
    service.wire[Way::Transmit as usize] += sum.sent_wire;
    service.retransmitted += sum.retransmitted;
    service.connections.opened += sum.opened;
    service.connections.closed += sum.closed;
    service.connections.failed += sum.failed;
    service.connections.reset += sum.reset;
    service.connections.open += (sum.opened + sum.joined).saturating_sub(sum.closed);
    let mut in_flight = 0;
    for (protocol, progress) in Protocol::MEASURED.into_iter().zip(sum.progress) {
        if progress.began > 0 {
            let waiting = progress.began.saturating_sub(progress.ended);
            service.in_flight.entry(protocol).or_default().requests += waiting;
            in_flight += waiting;
        }
    }
    in_flight
}

/// How many entries a map was made for.
fn capacity(ebpf: &Ebpf, map: &str) -> Option<u64> {
    let (Map::HashMap(data) | Map::PerCpuHashMap(data)) = ebpf.map(map)? else {
        return None;
    };
    Some(u64::from(data.info().ok()?.max_entries()))
}

#[cfg(test)]
mod tests;
