//! A program that the kernel runs once for each element of a map, whenever the agent asks: each socket with storage in it, or
//! each entry of an array.

use std::{
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
};

use aya::{Ebpf, maps::Map, programs::Program};

use super::{
    error::{CollectError, StartError},
    pinning::Pins,
    syscall,
};

/// The program, with the map that it goes through.
pub(super) struct MapIterator {
    program: &'static str,
    link: OwnedFd,
}

impl MapIterator {
    /// Makes ready; the program must have been loaded.
    pub(super) fn prepare(
        ebpf: &Ebpf,
        program: &'static str,
        map: &'static str,
        pins: Option<&Pins>,
    ) -> Result<Self, StartError> {
        let Some(Program::Iter(iterator)) = ebpf.program(program) else {
            return Err(StartError::Missing { what: "program", name: program });
        };
        let Some(Map::SkStorage(elements) | Map::Array(elements)) = ebpf.map(map) else {
            return Err(StartError::Missing { what: "map", name: map });
        };
        let refused = |reason: String| StartError::Attach {
            program,
            place: format!("the iterator over {map}"),
            reason,
        };
        let iterator = iterator.fd().map_err(|error| refused(error.to_string()))?;
        let link = syscall::link_iterator(iterator.as_fd(), elements.fd().as_fd())
            .map_err(|error| refused(error.to_string()))?;
        if let Some(pins) = pins {
            pins.pin_descriptor(link.as_fd(), program)?;
        }
        Ok(Self { program, link })
    }

    /// Takes up the one that an earlier agent made.
    pub(super) fn take_up(program: &'static str, pins: &Pins) -> Result<Self, StartError> {
        Ok(Self { program, link: pins.demand(program)?.into_link() })
    }

    /// Has the program look at all elements.
    pub(super) fn visit_all(&self) -> Result<(), CollectError> {
        self.run().map_err(|source| CollectError::Iterator { program: self.program, source })
    }

    fn run(&self) -> io::Result<()> {
        let mut run = syscall::open_iterator(self.link.as_fd())?;
        // The program writes nothing to read: reading makes it run. One read goes through them all.
        let mut buffer = [0; 64];
        while run.read(&mut buffer)? > 0 {}
        Ok(())
    }
}
