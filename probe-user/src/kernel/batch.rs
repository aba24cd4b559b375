//! A hash map read many entries at a time (`BPF_MAP_LOOKUP_BATCH`, kernel 5.6).
//!
//! One by one takes two system calls an entry, and begins anew where an entry was deleted in between. A batch is some
//! thousands in one call, bucket by bucket, so that no entry that stays is missed or seen twice.

use std::{io, os::fd::AsFd};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, MapError},
    util::nr_cpus,
};

use super::{
    error::StartError,
    sharing::shared_data,
    syscall::{self, Entries, Went},
};

/// Entries asked for in a call, to begin with.
const AT_A_TIME: usize = 4096;

/// A hash map whose entries are read together. `V` is a CPU's part of the value, or all of it.
#[derive(Debug)]
pub(super) struct Batched<K, V> {
    map: MapData,
    /// How many `V` a value has.
    parts: usize,
    entries: Entries<K, V>,
}

impl<K: Pod, V: Pod> Batched<K, V> {
    /// A map of the object.
    ///
    /// # Errors
    /// If the object has no such hash map, or there is no descriptor left for it.
    pub(super) fn of(ebpf: &Ebpf, name: &'static str) -> Result<Self, StartError> {
        let parts = match ebpf.map(name) {
            Some(Map::HashMap(_)) => 1,
            Some(Map::PerCpuHashMap(_)) => possible_cpus(name)?,
            _ => return Err(StartError::Missing { what: "hash map", name }),
        };
        let map = shared_data(ebpf, name)?;
        let failed = |source| StartError::Map { map: name, source };
        let info = map.info().map_err(failed)?;
        // The kernel writes as many bytes as the map's types have, whatever ours are.
        if info.key_size() as usize != size_of::<K>() || info.value_size() as usize != size_of::<V>() {
            return Err(failed(MapError::InvalidValueSize {
                size: size_of::<V>(),
                expected: info.value_size() as usize,
            }));
        }
        Ok(Self { map, parts, entries: Entries::with_room_for(AT_A_TIME, parts) })
    }

    /// Shows every entry: the key, and the value's parts.
    ///
    /// # Errors
    /// What `bpf(2)` says.
    pub(super) fn for_each(&mut self, mut visit: impl FnMut(&K, &[V])) -> io::Result<()> {
        let mut from = None;
        loop {
            let went = match syscall::look_up_batch(self.map.fd().as_fd(), from, &mut self.entries) {
                // A bucket has more entries than there is room for.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    self.entries = Entries::with_room_for(self.entries.room() * 2, self.parts);
                    continue;
                }
                went => went?,
            };
            for (key, value) in self.entries.read() {
                visit(key, value);
            }
            match went {
                Went::To(place) => from = Some(place),
                Went::ToTheEnd => return Ok(()),
            }
        }
    }

    /// The keys of those entries that are wanted.
    ///
    /// # Errors
    /// What `bpf(2)` says.
    pub(super) fn keys(&mut self, wanted: impl Fn(&K) -> bool) -> io::Result<Vec<K>> {
        let mut keys = Vec::new();
        self.for_each(|key, _| {
            if wanted(key) {
                keys.push(*key);
            }
        })?;
        Ok(keys)
    }
}

fn possible_cpus(map: &'static str) -> Result<usize, StartError> {
    nr_cpus().map_err(|(_, source)| StartError::Map { map, source: MapError::IoError(source) })
}
