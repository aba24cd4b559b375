//! With whom services talk: what the kernel side counted of their peers, and those that leave.
//!
//! An entry may go only when no program adds to it. So the table is closed first: what is counted for peers that leave goes
//! to the peer `other` of their service meanwhile, and peers that are new go there too. Once all programs have ended that
//! began before, what an entry has is the last that it had. All others are counted as ever. An agent that is killed in
//! between leaves the table closed, and the next one opens it.

use std::{
    collections::{BTreeMap, HashMap as StdHashMap},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuHashMap},
};
use probe_common::{
    peer::{CLOSED, DEPARTURES, OPEN, PeerCell, PeerKey},
    service::OTHER,
};

use super::{
    batch::Batched,
    collector::take,
    error::{CollectError, StartError},
    grace::Grace,
    sharing::shared,
};
use crate::{
    peer_book::PeerBook,
    peer_names::{End, Listeners, PeerNames, is_local},
    peer_networks,
    settings::Settings,
    snapshot::{Peer, Service, ServiceId},
};

const TABLE: &str = "PEERS";
const OTHERS: &str = "OTHER_PEERS";
const COUNTS: &str = "PEER_COUNTS";
const LEAVING: &str = "LEAVING_PEERS";
const FLAG: &str = "PEERS_CLOSED";

/// In how many parts of the time it is looked for peers that are idle.
const LOOKS: u32 = 8;

/// The tables of peers, and what of them has been taken into the book.
pub(super) struct Peers {
    table: PerCpuHashMap<MapData, PeerKey, PeerCell>,
    all: Batched<PeerKey, PeerCell>,
    others: PerCpuArray<MapData, PeerCell>,
    counts: Array<MapData, u64>,
    leaving: HashMap<MapData, PeerKey, u32>,
    flag: Array<MapData, u64>,
    grace: Grace,
    namer: PeerNames,
    book: PeerBook,
    seen: StdHashMap<PeerKey, Seen>,
    others_seen: StdHashMap<u32, PeerCell>,
    after: Duration,
    next_look: Option<Instant>,
    entries: u64,
}

/// What an entry had, and since when.
struct Seen {
    cell: PeerCell,
    since: Instant,
    first: Instant,
    is_local: bool,
}

impl Peers {
    /// The tables of the object, opened if an earlier agent left them closed.
    pub(super) fn take(ebpf: &mut Ebpf, settings: &Settings) -> Result<Self, StartError> {
        let after = settings.idle_after.unwrap_or(Duration::MAX);
        let now = Instant::now();
        let mut peers = Self {
            all: Batched::of(ebpf, TABLE)?,
            // Of services that leave they are cleared away by others.
            table: shared(ebpf, TABLE)?,
            others: shared(ebpf, OTHERS)?,
            counts: shared(ebpf, COUNTS)?,
            leaving: take(ebpf, LEAVING)?,
            flag: take(ebpf, FLAG)?,
            grace: Grace::new()?,
            namer: PeerNames::new(settings.peers.networks.clone(), settings.peers.labels.clone(), None),
            book: PeerBook::new(settings.errors, after),
            seen: StdHashMap::new(),
            others_seen: StdHashMap::new(),
            after,
            next_look: now.checked_add(after).map(|_| now),
            entries: 0,
        };
        peers.mend().map_err(|source| StartError::Expiry { source })?;
        Ok(peers)
    }

    /// Says who tells what peers are called.
    pub(super) fn name_by(&mut self, namer: PeerNames) {
        self.namer = namer;
    }

    /// How many entries there are.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// Takes what came since the last pass into the book, and gives the services their peers. What has no name yet waits.
    pub(super) fn collect(
        &mut self,
        names: &StdHashMap<u32, ServiceId>,
        services: &mut BTreeMap<ServiceId, Service>,
        now: Instant,
    ) -> Result<(), CollectError> {
        self.entries = 0;
        let listeners = Listeners::among(names.values());
        let Self { all, seen, book, entries, namer, .. } = self;
        let read = all.for_each(|key, cells| {
            *entries += 1;
            let seen = seen.entry(*key).or_insert_with(|| Seen::first(key, now));
            let Some(service) = names.get(&key.service) else { return };
            let cell: PeerCell = cells.iter().sum();
            if cell != seen.cell {
                let end = End {
                    service,
                    address: address(key),
                    network: key.network,
                    is_local: seen.is_local,
                    since: seen.first,
                };
                let Some(peer) = namer.of(&end, &listeners, now) else { return };
                book.add(service, peer, &cell.since(&seen.cell), now);
                (seen.cell, seen.since) = (cell, now);
            }
        });
        read.map_err(MapError::IoError).map_err(CollectError::of_map(TABLE))?;
        for (&index, service) in names {
            let cells = self.others.get(&index, 0).map_err(CollectError::of_map(OTHERS))?;
            let cell: PeerCell = cells.iter().sum();
            let seen = self.others_seen.entry(index).or_default();
            if cell != *seen {
                self.book.add(service, Peer::named(peer_networks::OTHER), &cell.since(seen), now);
                *seen = cell;
            }
        }
        self.book.forget_idle(now);
        self.book.show(services);
        Ok(())
    }

    /// Forgets what was seen of a service whose index has been given back.
    pub(super) fn forget(&mut self, service: u32) {
        self.seen.retain(|key, _| key.service != service);
        self.others_seen.remove(&service);
    }

    /// Takes peers away that have been idle.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), CollectError> {
        if self.next_look.is_none_or(|next| now < next) {
            return Ok(());
        }
        self.next_look = now.checked_add(self.after / LOOKS);
        self.mend()?;
        let is_idle = |seen: &Seen| now.saturating_duration_since(seen.since) >= self.after;
        let idle = self.seen.iter().filter(|(_, seen)| is_idle(seen)).map(|(key, _)| *key);
        let idle: Vec<PeerKey> = idle.take(DEPARTURES as usize).collect();
        if idle.is_empty() {
            return Ok(());
        }
        if idle.len() == DEPARTURES as usize {
            // There may be more.
            self.next_look = Some(now);
        }
        for key in &idle {
            self.leaving.insert(key, 0, 0).map_err(CollectError::of_map(LEAVING))?;
        }
        self.flag.set(0, CLOSED, 0).map_err(CollectError::of_map(FLAG))?;
        // Programs that run now may not have seen it.
        self.grace.wait()?;
        let mut gone = 0;
        for key in idle {
            let cell: PeerCell = match self.table.get(&key, 0) {
                Ok(cells) => cells.iter().sum(),
                Err(MapError::KeyNotFound) => PeerCell::default(),
                Err(error) => return Err(CollectError::of_map(TABLE)(error)),
            };
            if self.seen.get(&key).is_none_or(|seen| seen.cell == cell) {
                super::expiry::deleted(self.table.remove(&key)).map_err(CollectError::of_map(TABLE))?;
                self.seen.remove(&key);
                gone += 1;
            }
        }
        self.open()?;
        tracing::debug!("dropped {gone} idle peers");
        Ok(())
    }

    /// Opens the table, if it was left closed.
    fn mend(&mut self) -> Result<(), CollectError> {
        if self.flag.get(&0, 0).map_err(CollectError::of_map(FLAG))? == OPEN {
            return Ok(());
        }
        self.grace.wait()?;
        self.open()
    }

    /// Opens the table, in which nobody makes entries, for those that come; each service has as many as are there.
    fn open(&mut self) -> Result<(), CollectError> {
        let mut counts: StdHashMap<u32, u64> = StdHashMap::new();
        let read = self.all.for_each(|key, _| *counts.entry(key.service).or_default() += 1);
        read.map_err(MapError::IoError).map_err(CollectError::of_map(TABLE))?;
        for service in OTHER..self.counts.len() {
            let count = counts.get(&service).copied().unwrap_or_default();
            self.counts.set(service, count, 0).map_err(CollectError::of_map(COUNTS))?;
        }
        self.flag.set(0, OPEN, 0).map_err(CollectError::of_map(FLAG))?;
        // Programs that still take the table for closed find no entry, and count as before.
        let left =
            self.leaving.keys().collect::<Result<Vec<_>, _>>().map_err(CollectError::of_map(LEAVING))?;
        let mut left = left.iter();
        left.try_for_each(|key| super::expiry::deleted(self.leaving.remove(key)))
            .map_err(CollectError::of_map(LEAVING))
    }
}

impl Seen {
    /// Nothing yet. Whether an address is this host's is asked once.
    fn first(key: &PeerKey, now: Instant) -> Self {
        let is_local = key.network == 0 && is_local(address(key));
        Self { cell: PeerCell::default(), since: now, first: now, is_local }
    }
}

/// A peer's address, as its family has it.
fn address(key: &PeerKey) -> IpAddr {
    Ipv6Addr::from(key.address).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_its_family_has_it() {
        let of = |bytes: [u8; 16]| address(&PeerKey { address: bytes, ..PeerKey::default() }).to_string();
        assert_eq!(of(probe_common::user::mapped([10, 0, 0, 7])), "10.0.0.7");
        assert_eq!(of(Ipv6Addr::LOCALHOST.octets()), "::1");
    }
}
