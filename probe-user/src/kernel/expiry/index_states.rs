//! Who may use each index: see [`IndexState`].

use std::collections::BTreeSet;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use probe_common::service::IndexState;

use crate::kernel::{
    collector::take,
    error::{CollectError, StartError},
};

const MAP: &str = "INDEX_STATES";

/// The states of all indices.
pub(super) struct IndexStates(Array<MapData, IndexState>);

impl IndexStates {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, StartError> {
        take(ebpf, MAP).map(Self)
    }

    /// Has sockets that were given this index find their service anew before they use it. Programs that run now may not have
    /// seen it.
    pub(super) fn take_away(&mut self, index: u32) -> Result<(), CollectError> {
        let state = self.get(index)?;
        self.set(index, IndexState { generation: state.generation + 1, ..state })
    }

    /// The indices whose services' counts are elsewhere.
    pub(super) fn moved(&self) -> Result<BTreeSet<u32>, CollectError> {
        let mut moved = BTreeSet::new();
        for index in 0..self.0.len() {
            if self.get(index)?.moved != 0 {
                moved.insert(index);
            }
        }
        Ok(moved)
    }

    /// Notes that what is counted under an index counts again.
    pub(super) fn forget_move(&mut self, index: u32) -> Result<(), CollectError> {
        let state = self.get(index)?;
        self.set(index, IndexState { moved: 0, ..state })
    }

    fn get(&self, index: u32) -> Result<IndexState, CollectError> {
        self.0.get(&index, 0).map_err(CollectError::of_map(MAP))
    }

    fn set(&mut self, index: u32, state: IndexState) -> Result<(), CollectError> {
        self.0.set(index, state, 0).map_err(CollectError::of_map(MAP))
    }
}
