//! Services to which nothing has happened for a while leave the kernel, and so do their series. A series of a service that
//! lives leaves by itself (`departure`).
//!
//! An index must not be given to another service while anybody may count under it. So it goes in three steps, each in a
//! later pass than the one before:
//!
//! 1. *Idle*: no counter has changed for the time, no connection is open, no request waits, and nobody counts as a user.
//! 2. *Parked*: its key is taken from the table, and its index from all sockets that have it (`index_states`). They find the
//!    service under a new index when they come to it; what is counted under the old one is still shown.
//! 3. *Gone*: all programs have ended that may have used the index meanwhile, and no counter has changed. What was counted
//!    is cleared away, and the index given back. If the same service lives on under another index, it has been added to what
//!    that has (`bequest`).
//!
//! Services of pods that are gone need not have been idle for the time, once their counts have been scraped (`gone`).
//!
//! Each step is noted before it is taken (`parked`), so that whatever moment an agent is killed at, the next one finds every
//! index with its owner.

mod bequest;
mod departure;
mod diversion;
mod gone;
mod idle;
mod index_states;
mod leaving;
mod parked;
mod series;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use aya::Ebpf;
use probe_common::{
    counters::ServiceCounters,
    service::{OTHER, ServiceEntry, ServiceKey},
};

use self::{
    diversion::Diversion, idle::Idleness, index_states::IndexStates, series::SeriesIdleness, tables::Tables,
};
pub(super) use self::{gone::Filling, parked::Parked, tables::deleted};
use super::{
    collector::Maps,
    error::{CollectError, StartError},
    grace::Grace,
    pinning::Pins,
};
use crate::{
    attribution::Attribution,
    scrapers::Shown,
    settings::Settings,
    snapshot::{Service, ServiceId},
};

/// What takes services away.
pub(super) struct Expiry {
    /// Longer than any machine runs, where services stay.
    after: Duration,
    indices: IndexStates,
    parked: Parked,
    tables: Tables,
    idleness: Idleness,
    series: SeriesIdleness,
    diversion: Diversion,
    grace: Grace,
    failed: bool,
}

/// What a pass knows of services, when it comes to those that leave.
pub(super) struct Leaving<'a> {
    /// Who they are, by their index.
    pub(super) names: &'a HashMap<u32, ServiceId>,
    /// By what the kernel knows them.
    pub(super) keys: &'a HashMap<u32, (ServiceKey, ServiceEntry)>,
    /// How full their table is.
    pub(super) filling: Filling,
    /// What was scraped until now.
    pub(super) shown: Shown,
}

impl Expiry {
    /// Makes ready; the programs must have been loaded.
    pub(super) fn prepare(
        ebpf: &mut Ebpf,
        settings: &Settings,
        pins: Option<&Pins>,
    ) -> Result<Self, StartError> {
        let parked = pins.map(|pins| Parked::create(pins, settings.capacities.services)).transpose()?;
        let diversion = Diversion::prepare(ebpf, pins)?;
        Self::of(ebpf, settings, diversion, Grace::new()?, parked.unwrap_or_default())
    }

    /// Takes up what an earlier agent was about to take away.
    pub(super) fn take_up(ebpf: &mut Ebpf, settings: &Settings, pins: &Pins) -> Result<Self, StartError> {
        let grace = Grace::new()?;
        let diversion = Diversion::take_up(ebpf, pins, &grace)?;
        let mut expiry = Self::of(ebpf, settings, diversion, grace, Parked::open(pins)?)?;
        expiry.recover().map_err(|source| StartError::Expiry { source })?;
        Ok(expiry)
    }

    fn of(
        ebpf: &mut Ebpf,
        settings: &Settings,
        diversion: Diversion,
        grace: Grace,
        parked: Parked,
    ) -> Result<Self, StartError> {
        let after = settings.idle_after.unwrap_or(Duration::MAX);
        Ok(Self {
            after,
            indices: IndexStates::take(ebpf)?,
            parked,
            tables: Tables::take(ebpf)?,
            idleness: Idleness::default(),
            series: SeriesIdleness::new(after, Instant::now()),
            diversion,
            grace,
            failed: false,
        })
    }

    /// Sets right what an agent left that was killed in the middle of it.
    fn recover(&mut self) -> Result<(), CollectError> {
        // All that these had is elsewhere.
        let moved = self.indices.moved()?;
        for &index in &moved {
            self.parked.let_go(index)?;
        }
        // Noted, but not taken from the table.
        let unbroken: Vec<u32> = self
            .parked
            .staying()
            .filter(|(key, entry)| self.tables.index(key) == Some(entry.index))
            .map(|(_, entry)| entry.index)
            .collect();
        for index in unbroken {
            self.parked.forget(index)?;
        }
        // Whether sockets were told is not known: once more does no harm.
        let parked: Vec<u32> = self.parked.staying().map(|(_, entry)| entry.index).collect();
        parked.into_iter().try_for_each(|index| self.indices.take_away(index))?;
        self.recover_going()?;
        moved.iter().try_for_each(|index| self.indices.forget_move(*index))
    }

    /// Has those given back, or given back again, that were about to be.
    fn recover_going(&mut self) -> Result<(), CollectError> {
        let going = self.parked.going();
        if going.is_empty() {
            return Ok(());
        }
        // Each of these may have been given back, or not. Who takes a free index at this moment is counted as `other`.
        let mut free = self.tables.drain_free()?;
        self.grace.wait()?;
        free.extend(self.tables.drain_free()?);
        let used = self.tables.used_indices()?;
        let lost: BTreeSet<u32> =
            going.iter().filter(|index| !free.contains(index) && !used.contains(index)).copied().collect();
        self.tables.clear(&lost)?;
        free.extend(&lost);
        for index in free {
            self.tables.give_back(index)?;
        }
        for index in going {
            self.parked.forget(index)?;
        }
        Ok(())
    }

    /// The services that are no longer found by their keys, but still shown.
    pub(super) fn parked(&self) -> &Parked {
        &self.parked
    }

    /// Whether services leave at all.
    fn removes(&self) -> bool {
        self.after < Duration::MAX
    }

    /// Notes what a pass saw of a service.
    pub(super) fn note(&mut self, index: u32, counters: ServiceCounters, users: u64, now: Instant) {
        self.idleness.note(index, counters, users, now);
    }
}

impl Maps {
    /// Takes services away that have been idle, after a pass that has seen all of them. Failure is told once: what could not
    /// be taken away stays, and goes on to be counted.
    pub(super) fn expire(
        &mut self,
        leaving: &Leaving<'_>,
        attribution: &mut Attribution,
        services: &mut BTreeMap<ServiceId, Service>,
        now: Instant,
    ) {
        let Some(mut expiry) = self.expiry.take() else { return };
        expiry.let_gone_leave(leaving, attribution);
        let expired = expiry
            .leave_idle_series(self, leaving.names, services, now)
            .and_then(|()| expiry.give_back_idle(self, leaving, attribution, now))
            .and_then(|()| expiry.park_idle(leaving.keys, now))
            .and_then(|()| self.peers.as_mut().map_or(Ok(()), |peers| peers.expire(now)));
        if let Err(error) = expired
            && !expiry.failed
        {
            expiry.failed = true;
            tracing::warn!("cannot drop idle services and series: {error}");
        }
        self.expiry = Some(expiry);
    }
}

impl Expiry {
    /// Takes the keys of idle services from the table, and their indices from sockets.
    fn park_idle(
        &mut self,
        keys: &HashMap<u32, (ServiceKey, ServiceEntry)>,
        now: Instant,
    ) -> Result<(), CollectError> {
        for (&index, (key, entry)) in keys {
            let stays = index == OTHER || self.parked.contains(index);
            if stays || !self.idleness.is_idle(index, self.after, now) {
                continue;
            }
            self.tables.park(&mut self.parked, *key, *entry)?;
            self.indices.take_away(index)?;
        }
        Ok(())
    }

    /// Gives the indices back of parked services that are idle.
    fn give_back_idle(
        &mut self,
        maps: &mut Maps,
        leaving: &Leaving<'_>,
        attribution: &mut Attribution,
        now: Instant,
    ) -> Result<(), CollectError> {
        let is_idle = |index: &u32| self.idleness.is_idle(*index, self.after, now);
        let mut free: BTreeSet<u32> =
            self.parked.staying().map(|(_, entry)| entry.index).filter(is_idle).collect();
        if free.is_empty() {
            return Ok(());
        }
        // A program that began before an index was taken away may still have it in its hands.
        self.grace.wait()?;
        let mut last = HashMap::new();
        for &index in &free {
            last.insert(index, maps.counters(index)?);
        }
        free.retain(|index| self.idleness.is_unchanged(*index, &last[index]));
        // Their cgroups' numbers are never another's.
        let gone = |index: &&u32| self.idleness.may_leave(**index);
        let forgotten: Vec<_> =
            free.iter().filter(gone).filter_map(|index| leaving.keys.get(index)).collect();
        self.give_back(maps, leaving.names, &free, &last)?;
        for (key, _) in forgotten {
            attribution.forget(key);
        }
        Ok(())
    }

    fn give_back(
        &mut self,
        maps: &mut Maps,
        names: &HashMap<u32, ServiceId>,
        free: &BTreeSet<u32>,
        last: &HashMap<u32, ServiceCounters>,
    ) -> Result<(), CollectError> {
        if free.is_empty() {
            return Ok(());
        }
        self.bequeath(maps, names, free, last)?;
        for &index in free {
            self.parked.let_go(index)?;
        }
        self.tables.clear(free)?;
        for &index in free {
            if let Some(known) = &mut maps.routes {
                known.forget(index);
            }
            if let Some(peers) = &mut maps.peers {
                peers.forget(index);
            }
            self.indices.forget_move(index)?;
            self.tables.give_back(index)?;
            self.parked.forget(index)?;
            self.idleness.forget(index);
        }
        tracing::debug!("dropped {} idle or deleted services", free.len());
        Ok(())
    }
}
