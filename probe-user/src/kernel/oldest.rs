//! The oldest request in flight of each service, found by an iterator of the kernel over all sockets.
//!
//! The kernel side could keep it up to date only with work on every request; so it is looked for when somebody wants to
//! know, and only while there are requests in flight.

use std::collections::HashMap;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};

use super::{
    collector::take,
    error::{CollectError, StartError},
    iterator::MapIterator,
    object::OLDEST_REQUEST,
    pinning::Pins,
};

const MAP: &str = "OLDEST_REQUESTS";

/// Finds the oldest requests.
pub(super) struct OldestRequests {
    sockets: MapIterator,
    began: Array<MapData, u64>,
}

impl OldestRequests {
    /// Makes ready; the program must have been loaded.
    pub(super) fn prepare(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<Self, StartError> {
        let sockets = MapIterator::prepare(ebpf, OLDEST_REQUEST, "SOCKETS", pins)?;
        Ok(Self { sockets, began: take(ebpf, MAP)? })
    }

    /// Takes up the iterator that an earlier agent made.
    pub(super) fn take_up(ebpf: &mut Ebpf, pins: &Pins) -> Result<Self, StartError> {
        Ok(Self { sockets: MapIterator::take_up(OLDEST_REQUEST, pins)?, began: take(ebpf, MAP)? })
    }

    /// Looks at all sockets: afterwards [`OldestRequests::found`] tells of these services.
    pub(super) fn visit(&mut self, services: &[u32]) -> Result<(), CollectError> {
        for service in services {
            self.began.set(*service, 0, 0).map_err(CollectError::of_map(MAP))?;
        }
        self.sockets.visit_all()
    }

    /// When the oldest request of each of these services began, in nanoseconds of the monotonic clock. One whose last
    /// request has just been answered is not in the result.
    pub(super) fn found(&self, services: &[u32]) -> Result<HashMap<u32, u64>, CollectError> {
        let mut found = HashMap::new();
        for service in services {
            let began = self.began.get(service, 0).map_err(CollectError::of_map(MAP))?;
            if began != 0 {
                found.insert(*service, began);
            }
        }
        Ok(found)
    }
}
