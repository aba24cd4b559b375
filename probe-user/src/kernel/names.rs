//! The names of services, kept with pinned state: the process or cgroup that told one may have gone when the next agent
//! asks, and a service whose name changed would begin anew.

use std::{
    borrow::Cow,
    collections::{HashMap as StdHashMap, HashSet},
};

use aya::maps::{HashMap, Map, MapData};
use probe_common::service::ServiceKey;

use super::{error::StartError, pinning::Pins};
use crate::{identity::Kept, visible::visible};

const MAP: &str = "SERVICE_NAMES";

/// `BPF_F_NO_PREALLOC`: only the agent writes here, so there is no burst to be ready for.
const ON_DEMAND: u32 = 1;

/// A name is a cgroup's, a unit's or a process's at most: the name of a file. The names of a pod, of what it belongs to, of
/// its namespace, container and node come to 700 at most, and so does all of it together to less than this.
const LENGTH: usize = 1024;

/// The kept names. Programs do not know of them.
pub(super) struct Names {
    map: HashMap<MapData, ServiceKey, [u8; LENGTH]>,
    kept: HashSet<ServiceKey>,
}

impl Names {
    /// None yet, with room for those of all services.
    pub(super) fn create(pins: &Pins, services: u32) -> Result<Self, StartError> {
        let failed = |source| StartError::Map { map: MAP, source };
        let map: HashMap<MapData, ServiceKey, [u8; LENGTH]> =
            HashMap::create(services, ON_DEMAND).map_err(failed)?;
        map.pin(pins.map(MAP)).map_err(|error| failed(std::io::Error::other(error).into()))?;
        Self::open(pins)
    }

    /// Those that an earlier agent kept.
    pub(super) fn open(pins: &Pins) -> Result<Self, StartError> {
        let failed = |source| StartError::Map { map: MAP, source };
        let data = MapData::from_pin(pins.map(MAP)).map_err(failed)?;
        let map = HashMap::try_from(Map::HashMap(data)).map_err(failed)?;
        Ok(Self { map, kept: HashSet::new() })
    }

    /// Reads them.
    pub(super) fn read(&mut self) -> Vec<(ServiceKey, Kept)> {
        let all: Vec<_> = self.map.iter().filter_map(Result::ok).collect();
        self.kept = all.iter().map(|(key, _)| *key).collect();
        all.into_iter().map(|(key, bytes)| (key, Kept::from_text(&name(&bytes)))).collect()
    }

    /// Keeps those that are new, and forgets those of services that are there no more.
    pub(super) fn keep(&mut self, named: &StdHashMap<ServiceKey, Kept>) {
        if self.kept.len() > named.len() {
            let gone: Vec<_> = self.kept.iter().filter(|key| !named.contains_key(key)).copied().collect();
            for key in gone {
                let _ = self.map.remove(&key);
                self.kept.remove(&key);
            }
        }
        for (key, name) in named {
            if self.kept.contains(key) {
                continue;
            }
            match self.map.insert(key, bytes(&name.to_text(LENGTH)), 0) {
                Ok(()) => drop(self.kept.insert(*key)),
                Err(error) => tracing::debug!(
                    "the name {} cannot be kept for the next agent: {error}",
                    visible(&name.identity.service)
                ),
            }
        }
    }
}

fn bytes(name: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    // The last byte stays zero.
    for (to, from) in bytes[..LENGTH - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

fn name(bytes: &[u8]) -> Cow<'_, str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_when_it_comes_back() {
        for text in ["nginx", "", "größer", &"x".repeat(1023)] {
            assert_eq!(name(&bytes(text)), text);
        }
    }
}
