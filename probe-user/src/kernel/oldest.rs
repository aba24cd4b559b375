//! The oldest request in flight of each service, found by an iterator of the kernel over all sockets.
//!
//! The kernel side could keep it up to date only with work on every request; so it is looked for when somebody wants to
//! know, and only while there are requests in flight.

use std::{
    collections::HashMap,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError},
    programs::Program,
};

use super::{
    error::{CollectError, StartError},
    object::OLDEST_REQUEST,
    pinning::Pins,
    syscall,
};

const MAP: &str = "OLDEST_REQUESTS";
const SOCKETS: &str = "SOCKETS";

fn unread(source: MapError) -> CollectError {
    CollectError::Map { map: MAP, source }
}

/// Finds the oldest requests.
pub(super) struct OldestRequests {
    link: OwnedFd,
    began: Array<MapData, u64>,
}

impl OldestRequests {
    /// Makes ready; the program must have been loaded.
    pub(super) fn prepare(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<Self, StartError> {
        let link = Self::link(ebpf)?;
        if let Some(pins) = pins {
            pins.pin_descriptor(link.as_fd(), OLDEST_REQUEST)?;
        }
        Self::of(link, ebpf)
    }

    /// Takes up the iterator that an earlier agent made.
    pub(super) fn take_up(ebpf: &mut Ebpf, pins: &Pins) -> Result<Self, StartError> {
        Self::of(pins.demand(OLDEST_REQUEST)?.into_link(), ebpf)
    }

    fn of(link: OwnedFd, ebpf: &mut Ebpf) -> Result<Self, StartError> {
        let map = ebpf.take_map(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
        let began = Array::try_from(map).map_err(|source| StartError::Map { map: MAP, source })?;
        Ok(Self { link, began })
    }

    fn link(ebpf: &Ebpf) -> Result<OwnedFd, StartError> {
        let Some(Program::Iter(program)) = ebpf.program(OLDEST_REQUEST) else {
            return Err(StartError::Missing { what: "program", name: OLDEST_REQUEST });
        };
        let Some(Map::SkStorage(sockets)) = ebpf.map(SOCKETS) else {
            return Err(StartError::Missing { what: "map", name: SOCKETS });
        };
        let refused = |reason: String| StartError::Attach {
            program: OLDEST_REQUEST,
            place: "the iterator of sockets".into(),
            reason,
        };
        let program = program.fd().map_err(|error| refused(error.to_string()))?;
        syscall::link_iterator(program.as_fd(), sockets.fd().as_fd())
            .map_err(|error| refused(error.to_string()))
    }

    /// Looks at all sockets: afterwards [`OldestRequests::found`] tells of these services.
    pub(super) fn visit(&mut self, services: &[u32]) -> Result<(), CollectError> {
        for service in services {
            self.began.set(*service, 0, 0).map_err(unread)?;
        }
        self.visit_all_sockets().map_err(|source| CollectError::Iterator { source })
    }

    /// When the oldest request of each of these services began, in nanoseconds of the monotonic clock. One whose last
    /// request has just been answered is not in the result.
    pub(super) fn found(&self, services: &[u32]) -> Result<HashMap<u32, u64>, CollectError> {
        let mut found = HashMap::new();
        for service in services {
            let began = self.began.get(service, 0).map_err(unread)?;
            if began != 0 {
                found.insert(*service, began);
            }
        }
        Ok(found)
    }

    fn visit_all_sockets(&self) -> io::Result<()> {
        let mut run = syscall::open_iterator(self.link.as_fd())?;
        // The program writes nothing to read: reading makes it run.
        let mut buffer = [0; 64];
        while run.read(&mut buffer)? > 0 {}
        Ok(())
    }
}
