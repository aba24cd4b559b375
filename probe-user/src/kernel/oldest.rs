//! How old the oldest requests in flight are: see [`probe_common::ages`].

use std::{collections::HashMap, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray},
};
use probe_common::ages::{self, Old, Young};

use super::{
    clock,
    error::{CollectError, StartError},
    sharing::shared,
};

const YOUNG: &str = "AGES";
const OLD: &str = "OLD_AGES";

/// How often to read a service's requests again because some moved from one table to the other meanwhile, and would be counted
/// in both or in neither.
const READINGS: u32 = 4;

/// Tells how old the oldest requests are.
pub(super) struct OldestRequests {
    young: PerCpuArray<MapData, Young>,
    old: Array<MapData, Old>,
}

impl OldestRequests {
    /// Of services that leave, others clear them away.
    pub(super) fn take(ebpf: &Ebpf) -> Result<Self, StartError> {
        Ok(Self { young: shared(ebpf, YOUNG)?, old: shared(ebpf, OLD)? })
    }

    /// The age of the oldest request of each of these services, by their indices. One whose last request has just been answered
    /// is not in the result.
    pub(super) fn ages(&self, waiting: &[u32]) -> Result<HashMap<u32, Duration>, CollectError> {
        let mut found = HashMap::new();
        for &service in waiting {
            let (young, old) = self.read(service)?;
            // Behind the reading, or a request would be younger than nothing.
            let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
            if let Some(started) = ages::oldest(&young, &old, now) {
                found.insert(service, Duration::from_nanos(now.saturating_sub(started)));
            }
        }
        Ok(found)
    }

    /// What there is of a service.
    fn read(&self, service: u32) -> Result<(Vec<Young>, Old), CollectError> {
        let mut before = self.old(service)?;
        for _ in 1..READINGS {
            let (young, behind) = (self.young(service)?, self.old(service)?);
            if behind == before {
                return Ok((young, behind));
            }
            before = behind;
        }
        // Busy for longer than anybody wants to wait: it may be off by what moved last.
        Ok((self.young(service)?, before))
    }

    fn young(&self, service: u32) -> Result<Vec<Young>, CollectError> {
        let of_cpus = self.young.get(&service, 0).map_err(CollectError::of_map(YOUNG))?;
        Ok(of_cpus.iter().copied().collect())
    }

    fn old(&self, service: u32) -> Result<Old, CollectError> {
        self.old.get(&service, 0).map_err(CollectError::of_map(OLD))
    }
}
