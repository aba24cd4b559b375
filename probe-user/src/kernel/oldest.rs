//! How old the oldest requests in flight are: see [`probe_common::ages`].

use std::{collections::HashMap, time::Duration};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
};
use probe_common::ages::{Ages, MOST_IN_FLIGHT};

use super::{
    clock,
    error::{CollectError, StartError},
    sharing::shared,
};

const MAP: &str = "AGES";

/// Requests of a service that have no answer yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// The service's index.
    pub(super) service: u32,
    /// How many.
    pub(super) requests: u64,
}

/// Tells how old the oldest requests are.
pub(super) struct OldestRequests(PerCpuArray<MapData, Ages>);

impl OldestRequests {
    /// Of services that leave, others clear them away.
    pub(super) fn take(ebpf: &Ebpf) -> Result<Self, StartError> {
        shared(ebpf, MAP).map(Self)
    }

    /// The age of the oldest request of each of these services. One whose last request has just been answered is not in the
    /// result, nor is one with more requests in flight than can be told apart.
    pub(super) fn ages(&self, waiting: &[Waiting]) -> Result<HashMap<u32, Duration>, CollectError> {
        let mut found = HashMap::new();
        for &Waiting { service, .. } in waiting.iter().filter(|waiting| waiting.requests < MOST_IN_FLIGHT) {
            let mut sum = Ages::default();
            let of_cpus = self.0.get(&service, 0).map_err(CollectError::of_map(MAP))?;
            of_cpus.iter().for_each(|ages| sum.add(ages));
            // Behind the reading, or a request would be younger than nothing.
            let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
            if let Some(started) = sum.oldest(now) {
                found.insert(service, Duration::from_nanos(now.saturating_sub(started)));
            }
        }
        Ok(found)
    }
}
