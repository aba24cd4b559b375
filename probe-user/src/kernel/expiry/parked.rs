//! Services that nobody finds by their key any more, but whose index has not been given back. With `--pin` also in a map
//! that outlives the agent, so that an index is not lost with one that is killed in between.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{HashMap, Map, MapData};
use probe_common::service::{ParkedService, ServiceEntry, ServiceKey};

use super::tables::deleted;
use crate::kernel::{
    error::{CollectError, StartError},
    pinning::Pins,
};

const MAP: &str = "PARKED_SERVICES";

/// `BPF_F_NO_PREALLOC`: only the agent writes here.
const ON_DEMAND: u32 = 1;

/// The parked services, by their index.
#[derive(Default)]
pub(in crate::kernel) struct Parked {
    services: BTreeMap<u32, ParkedService>,
    map: Option<HashMap<MapData, u32, ParkedService>>,
}

impl Parked {
    /// None yet, with room for all services where they are to outlive the agent.
    pub(in crate::kernel) fn create(pins: &Pins, services: u32) -> Result<Self, StartError> {
        let failed = |source| StartError::Map { map: MAP, source };
        let map: HashMap<MapData, u32, ParkedService> =
            HashMap::create(services, ON_DEMAND).map_err(failed)?;
        map.pin(pins.map(MAP)).map_err(|error| failed(std::io::Error::other(error).into()))?;
        Self::open(pins)
    }

    /// Those that an earlier agent left.
    pub(in crate::kernel) fn open(pins: &Pins) -> Result<Self, StartError> {
        let failed = |source| StartError::Map { map: MAP, source };
        let data = MapData::from_pin(pins.map(MAP)).map_err(failed)?;
        let map: HashMap<MapData, u32, ParkedService> =
            HashMap::try_from(Map::HashMap(data)).map_err(failed)?;
        let services = map.iter().collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self { services, map: Some(map) })
    }

    /// Those whose counters are still theirs.
    pub(in crate::kernel) fn staying(&self) -> impl Iterator<Item = (&ServiceKey, ServiceEntry)> {
        let staying = self.services.iter().filter(|(_, parked)| parked.going == 0);
        staying.map(|(&index, parked)| {
            (&parked.key, ServiceEntry { index, process: parked.process, ..ServiceEntry::default() })
        })
    }

    /// Those whose counters may have been cleared away in part.
    pub(super) fn going(&self) -> BTreeSet<u32> {
        let going = self.services.iter().filter(|(_, parked)| parked.going != 0);
        going.map(|(&index, _)| index).collect()
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.services.contains_key(&index)
    }

    /// Notes a service before it is taken from the table.
    pub(super) fn park(&mut self, key: ServiceKey, entry: ServiceEntry) -> Result<(), CollectError> {
        self.write(entry.index, ParkedService { key, process: entry.process, going: 0 })
    }

    /// Notes that nothing that was counted can be trusted from now on.
    pub(super) fn let_go(&mut self, index: u32) -> Result<(), CollectError> {
        match self.services.get(&index) {
            Some(parked) => self.write(index, ParkedService { going: 1, ..*parked }),
            None => Ok(()),
        }
    }

    /// Forgets one whose index is no longer its own.
    pub(super) fn forget(&mut self, index: u32) -> Result<(), CollectError> {
        self.services.remove(&index);
        self.map.as_mut().map_or(Ok(()), |map| deleted(map.remove(&index)).map_err(CollectError::of_map(MAP)))
    }

    fn write(&mut self, index: u32, parked: ParkedService) -> Result<(), CollectError> {
        if let Some(map) = &mut self.map {
            map.insert(index, parked, 0).map_err(CollectError::of_map(MAP))?;
        }
        self.services.insert(index, parked);
        Ok(())
    }
}
