//! What the kernel's tables take of its memory, by their sizes: allocated when they are made, whatever they hold.
//!
//! By how `kernel/bpf/hashtab.c`, `arraymap.c` and `queue_stack_maps.c` allocate; `tests/tests/e2e/memory.rs` compares with the
//! kernel's own account.

use probe_common::{
    ages::{Old, Young},
    counters::ServiceCounters,
    exchange::{LatencyCell, LatencyKey},
    peer::{DEPARTURES, PeerCell, PeerKey},
    route::RouteKey,
    sample::{ROOM, SampledClient},
    service::{IndexState, ServiceEntry, ServiceKey},
    user::{Client, ClientKey},
};

use crate::settings::Capacities;

/// What a hash map has for each element beside key and value: `struct htab_elem`.
const ELEMENT: u64 = 48;
/// What it has for each bucket, of which there are a power of two: `struct bucket`.
const BUCKET: u64 = 16;
const POINTER: u64 = 8;

/// Of the tables whose sizes are set, by what is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    capacities: Capacities,
    /// CPUs that there may be.
    cpus: u64,
}

impl Memory {
    pub(super) fn of(capacities: Capacities, cpus: usize) -> Self {
        Self { capacities, cpus: cpus as u64 }
    }

    /// All that grows with `--max-services`.
    pub(super) fn services(&self) -> u64 {
        let services = u64::from(self.capacities.services);
        let table = self.hash::<ServiceKey, ServiceEntry>(services);
        // Free indices: a queue has a place more than it holds.
        let free = (services + 1) * 4;
        let counters = services * (POINTER + size::<ServiceCounters>() * self.cpus);
        let ages = services * (POINTER + size::<Young>() * self.cpus + size::<Old>());
        // Entries in LATENCIES and in SAMPLED, and with routes how many it has.
        let numbers = if self.capacities.routes.is_some() { 3 } else { 2 };
        table + free + counters + ages + services * (size::<IndexState>() + 8 * numbers)
    }

    /// With `--max-series`.
    pub(super) fn series(&self) -> u64 {
        let series = u64::from(self.capacities.series);
        let of_cpus = POINTER + size::<LatencyCell>() * self.cpus;
        buckets(series) + series * (ELEMENT + size::<LatencyKey>() + of_cpus)
    }

    /// With `--max-clients`.
    pub(super) fn clients(&self) -> u64 {
        self.hash::<ClientKey, Client>(self.capacities.clients.into())
    }

    /// With `--max-routes`.
    pub(super) fn routes(&self) -> u64 {
        self.capacities.routes.map_or(0, |limits| self.hash::<RouteKey, u32>(limits.total.into()))
    }

    /// With `--max-peers`, and for the peer `other` of each service.
    pub(super) fn peers(&self) -> u64 {
        let Some(limits) = self.capacities.peers else { return 0 };
        let (peers, services) = (u64::from(limits.total), u64::from(self.capacities.services));
        let of_cpus = POINTER + size::<PeerCell>() * self.cpus;
        let table = buckets(peers) + peers * (ELEMENT + size::<PeerKey>() + of_cpus);
        // Beside those the entries of each service, by number.
        table + services * (of_cpus + 8) + self.hash::<PeerKey, u32>(DEPARTURES.into())
    }

    /// All that is allocated when the tables are made, by the flag that says how much, what takes most first.
    pub(super) fn largest_first(&self) -> [(&'static str, u64); 5] {
        let mut all = [
            ("--max-services", self.services()),
            ("--max-series", self.series()),
            ("--max-clients", self.clients()),
            ("--max-routes", self.routes()),
            ("--max-peers", self.peers()),
        ];
        all.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        all
    }

    /// Of the sample of those for whom the table of clients has no room, whose size is fixed.
    pub(super) fn sampled_clients(&self) -> u64 {
        self.hash::<ClientKey, SampledClient>(ROOM.into())
    }

    /// A hash map whose elements are allocated with it, one more for each CPU.
    fn hash<K, V>(&self, entries: u64) -> u64 {
        buckets(entries) + (entries + self.cpus) * (ELEMENT + size::<K>() + size::<V>()) + POINTER * self.cpus
    }
}

fn buckets(entries: u64) -> u64 {
    entries.next_power_of_two() * BUCKET
}

/// Keys and values begin at multiples of eight bytes.
fn size<T>() -> u64 {
    (size_of::<T>() as u64).next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_costs_what_the_documentation_says() {
        let of = |services, series, clients, cpus| {
            let capacities =
                Capacities { services, series, series_per_service: 64, clients, routes: None, peers: None };
            Memory::of(capacities, cpus)
        };
        let (one, two) = (of(1 << 10, 1 << 10, 1 << 10, 2), of(1 << 11, 1 << 11, 1 << 11, 2));
        let an_entry = |bytes: fn(&Memory) -> u64| (bytes(&two) - bytes(&one)) / 1024;
        assert_eq!(an_entry(Memory::services), 1668);
        assert_eq!(an_entry(Memory::series), 120);
        assert_eq!(an_entry(Memory::clients), 104);
        let more = of(1 << 10, 1 << 10, 1 << 10, 3);
        assert_eq!((more.series() - one.series()) / 1024, 16, "of another CPU");
        assert_eq!(one.largest_first()[0], ("--max-services", one.services()));
        assert_eq!(of(2, 64, 1 << 20, 2).largest_first()[0].0, "--max-clients");
    }
}
