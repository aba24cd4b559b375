//! Series of services that live leave when they have been idle: found, taken away, and no longer shown.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use probe_common::{
    exchange::{Ending, LatencyCell, LatencyKey, code_of},
    protocol::{Method, Protocol},
};

use super::{
    Expiry,
    leaving::{Leaver, is_counted},
    series::Series,
};
use crate::{
    kernel::{collector::Maps, error::CollectError, routes::Routes},
    snapshot::{RequestKind, Service, ServiceId},
};

/// What series are shown as: the labels of their requests.
pub(super) struct Shown<'a> {
    pub(super) names: &'a HashMap<u32, ServiceId>,
    pub(super) routes: &'a mut Option<Routes>,
}

impl Shown<'_> {
    /// What a series is shown as; none of what has no name, or is not shown by itself.
    fn kind(&mut self, series: &Series) -> Result<Option<(ServiceId, RequestKind)>, CollectError> {
        let key = series.key();
        let (Some(protocol), Some(method)) = (Protocol::from_key(key.protocol), Method::from_key(key.method))
        else {
            return Ok(None);
        };
        let Some(id) = self.names.get(&key.service).filter(|_| series.is_shown()) else { return Ok(None) };
        let route = self.routes.as_mut().map(|routes| routes.template(key.service, key.route)).transpose();
        let route = route.map_err(CollectError::of_map("ROUTES"))?;
        let (status, ending) = (code_of(key.status), Ending::of(key.status));
        Ok(Some((id.clone(), RequestKind { protocol, method, status, route, ending })))
    }
}

impl Expiry {
    /// Takes series away that have been idle, of services that have names.
    pub(super) fn leave_idle_series(
        &mut self,
        maps: &mut Maps,
        names: &HashMap<u32, ServiceId>,
        services: &mut BTreeMap<ServiceId, Service>,
        now: Instant,
    ) -> Result<(), CollectError> {
        self.diversion.mend(&self.grace)?;
        if !self.series.is_due(now) {
            return Ok(());
        }
        let counts = self.series_counts()?;
        let mut idle = self.series.look(&counts, now);
        idle.retain(|series| names.contains_key(&series.service()));
        if idle.is_empty() {
            return Ok(());
        }
        let mut shown = Shown { names, routes: &mut maps.routes };
        let mut leavers = self.leavers(&idle, &counts)?;
        if leavers.len() < idle.len() {
            self.series.look_soon(now);
        }
        name_heirs(&mut leavers, &counts, &mut shown)?;
        for leaver in self.take_away(leavers)? {
            self.series.forget(&leaver.series);
            if let Some((id, kind)) = shown.kind(&leaver.series)?
                && leaver.heir.is_none()
                && let Some(service) = services.get_mut(&id)
            {
                service.requests.remove(&kind);
            }
        }
        Ok(())
    }

    /// How much each series has.
    pub(super) fn series_counts(&mut self) -> Result<HashMap<Series, u64>, CollectError> {
        let mut counts = HashMap::new();
        self.tables.for_each_latency(|key, cell| {
            if let Some(series) = Series::of(key) {
                *counts.entry(series).or_default() += if is_counted(key) { cell.count } else { 0 };
            }
        })?;
        Ok(counts)
    }

    /// The entries of series that are idle, as many as can leave at once. A series that has more than it had when it was
    /// looked at is not idle.
    fn leavers(
        &mut self,
        idle: &[Series],
        counts: &HashMap<Series, u64>,
    ) -> Result<Vec<Leaver>, CollectError> {
        let mut entries: HashMap<Series, Vec<(LatencyKey, LatencyCell)>> =
            idle.iter().map(|series| (*series, Vec::new())).collect();
        self.tables.for_each_latency(|key, cell| {
            if let Some(of_series) = Series::of(key).and_then(|series| entries.get_mut(&series)) {
                of_series.push((*key, *cell));
            }
        })?;
        let mut room = self.diversion.room();
        let mut leavers = Vec::new();
        for &series in idle {
            let entries = entries.remove(&series).unwrap_or_default();
            let leaver = Leaver { series, entries, heir: None, rest: series.service() };
            let Some(left) = room.checked_sub(leaver.entries.len()) else { break };
            if leaver.count() == counts[&series] {
                room = left;
                leavers.push(leaver);
            }
        }
        Ok(leavers)
    }

    /// Takes series away, and returns those that have gone: something may have come for one in the meantime.
    fn take_away(&mut self, mut leavers: Vec<Leaver>) -> Result<Vec<Leaver>, CollectError> {
        let keys = leavers.iter().flat_map(|leaver| leaver.entries.iter().map(|(key, _)| *key));
        self.diversion.open(keys.collect::<Vec<_>>(), &self.grace)?;
        let mut gone = Vec::new();
        for leaver in leavers.drain(..) {
            // Nobody adds to them any more: this is the last that they have.
            let mut unchanged = true;
            for (key, cell) in &leaver.entries {
                unchanged &= self.tables.latency(key)?.is_some_and(|now| now == *cell);
            }
            if unchanged {
                gone.push(leaver);
            }
        }
        self.diversion.carry_out(gone.iter().flat_map(Leaver::orders).collect::<Vec<_>>())?;
        self.diversion.close(&self.grace)?;
        tracing::debug!("dropped {} idle series", gone.len());
        Ok(gone)
    }
}

/// Finds for each of them another that is shown as the same and stays: several services of the kernel's may have one name.
pub(super) fn name_heirs(
    leavers: &mut [Leaver],
    counts: &HashMap<Series, u64>,
    shown: &mut Shown<'_>,
) -> Result<(), CollectError> {
    let leaving: HashSet<Series> = leavers.iter().map(|leaver| leaver.series).collect();
    let mut bearers: HashMap<&ServiceId, u32> = HashMap::new();
    for id in shown.names.values() {
        *bearers.entry(id).or_default() += 1;
    }
    let mut stay = HashMap::new();
    for series in counts.keys().filter(|series| !leaving.contains(series)) {
        let shares_its_name = shown.names.get(&series.service()).is_some_and(|id| bearers[id] > 1);
        if shares_its_name && let Some(kind) = shown.kind(series)? {
            stay.insert(kind, *series);
        }
    }
    if stay.is_empty() {
        return Ok(());
    }
    for leaver in leavers {
        leaver.heir = shown.kind(&leaver.series)?.and_then(|kind| stay.get(&kind).copied());
    }
    Ok(())
}
