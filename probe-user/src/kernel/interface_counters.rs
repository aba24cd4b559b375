//! The table of what interfaces have carried.

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use probe_common::interface::{InterfaceCounters, Way};

use super::error::StartError;
use crate::snapshot::InterfaceVolumes;

const MAP: &str = "INTERFACES";

/// An entry for each interface that is counted, by its index.
pub(super) struct InterfaceTable(PerCpuHashMap<MapData, u32, InterfaceCounters>);

impl InterfaceTable {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, StartError> {
        let map = ebpf.take_map(MAP).ok_or(StartError::Missing { what: "map", name: MAP })?;
        PerCpuHashMap::try_from(map).map(Self).map_err(of_map)
    }

    /// The interfaces that have an entry.
    pub(super) fn indices(&self) -> Result<Vec<u32>, StartError> {
        self.0.keys().collect::<Result<_, _>>().map_err(of_map)
    }

    pub(super) fn has(&self, index: u32) -> bool {
        self.0.get(&index, 0).is_ok()
    }

    /// Makes an interface's counters, at zero.
    pub(super) fn begin(&mut self, index: u32, header_length: u64) -> Result<(), StartError> {
        let entry = InterfaceCounters { link_header: header_length, ..InterfaceCounters::default() };
        let cpus = nr_cpus().map_or(1, |cpus| cpus);
        let values = PerCpuValues::try_from(vec![entry; cpus]).map_err(|source| of_map(source.into()))?;
        self.0.insert(index, values, 0).map_err(of_map)
    }

    pub(super) fn remove(&mut self, index: u32) {
        // Gone already, if the kernel was faster.
        let _ = self.0.remove(&index);
    }

    /// What was counted on an interface since it was attached to.
    pub(super) fn read(&self, index: u32) -> Result<InterfaceVolumes, MapError> {
        let mut sum = InterfaceVolumes::default();
        for cpu in self.0.get(&index, 0)?.iter() {
            for way in Way::ALL {
                let (sum, counted) = (&mut sum[way as usize], &cpu.volume[way as usize]);
                for (sum, counted) in sum.iter_mut().flatten().zip(counted.iter().flatten()) {
                    sum.bytes += counted.bytes;
                    sum.packets += counted.packets;
                }
            }
        }
        Ok(sum)
    }
}

fn of_map(source: MapError) -> StartError {
    StartError::Map { map: MAP, source }
}

pub(super) fn subtract(volumes: &mut InterfaceVolumes, before: &InterfaceVolumes) {
    for (volume, before) in volumes.iter_mut().flatten().flatten().zip(before.iter().flatten().flatten()) {
        volume.bytes -= before.bytes;
        volume.packets -= before.packets;
    }
}
