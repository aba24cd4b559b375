//! Which services some socket belongs to: their indices cannot be given to others.

use std::collections::BTreeSet;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use probe_common::service::{ASKED, GONE, HELD, NOT_ASKED};

use crate::kernel::{
    collector::take,
    error::{CollectError, StartError},
    grace::Grace,
    iterator::MapIterator,
    object::{SERVICES_OF_CONNECTIONS, SERVICES_OF_DATAGRAM_SOCKETS},
    pinning::Pins,
};

const MAP: &str = "HOLDERS";

/// What looks at all sockets.
pub(super) struct Holders {
    iterators: [MapIterator; 2],
    asked: Array<MapData, u64>,
}

impl Holders {
    /// Makes ready; the programs must have been loaded.
    pub(super) fn prepare(ebpf: &mut Ebpf, pins: Option<&Pins>) -> Result<Self, StartError> {
        let iterators = [
            MapIterator::prepare(ebpf, SERVICES_OF_CONNECTIONS, "SOCKETS", pins)?,
            MapIterator::prepare(ebpf, SERVICES_OF_DATAGRAM_SOCKETS, "DATAGRAMS", pins)?,
        ];
        Ok(Self { iterators, asked: take(ebpf, MAP)? })
    }

    /// Takes up what an earlier agent made, which may have been killed while it asked, and tells of which services all that
    /// they had is elsewhere.
    pub(super) fn take_up(ebpf: &mut Ebpf, pins: &Pins) -> Result<(Self, BTreeSet<u32>), StartError> {
        let iterators = [
            MapIterator::take_up(SERVICES_OF_CONNECTIONS, pins)?,
            MapIterator::take_up(SERVICES_OF_DATAGRAM_SOCKETS, pins)?,
        ];
        let mut holders = Self { iterators, asked: take(ebpf, MAP)? };
        let gone = holders.gone().map_err(|source| StartError::Expiry { source })?;
        let others = (0..holders.asked.len()).filter(|index| !gone.contains(index));
        holders.set(others, NOT_ASKED).map_err(|source| StartError::Expiry { source })?;
        Ok((holders, gone))
    }

    /// Those of the indices that no socket has, nor will have: nobody may find them by their keys any more.
    ///
    /// Sockets are looked at twice. While that is under way, one that listens may hand its index to a connection that the
    /// first look has passed already, and be gone before the look comes to it; connections hand on nothing, so that the
    /// second look finds what the first one missed. Before, between and behind wait until the programs have ended that
    /// run: one may have had the index in its hands, and nobody may use it behind the end.
    pub(super) fn not_held(
        &mut self,
        indices: BTreeSet<u32>,
        grace: &Grace,
    ) -> Result<BTreeSet<u32>, CollectError> {
        grace.wait()?;
        let free = self.look(indices)?;
        if free.is_empty() {
            return Ok(free);
        }
        grace.wait()?;
        let free = self.look(free)?;
        grace.wait()?;
        Ok(free)
    }

    /// Has all sockets looked at, and returns those that none has.
    fn look(&mut self, mut indices: BTreeSet<u32>) -> Result<BTreeSet<u32>, CollectError> {
        let asked: Vec<u32> = indices.iter().copied().collect();
        self.set(asked.iter().copied(), ASKED)?;
        let looked = self.iterators.iter().try_for_each(MapIterator::visit_all);
        let mut read = Ok(());
        indices.retain(|index| match self.asked.get(index, 0) {
            Ok(answer) => answer != HELD,
            Err(error) => {
                read = Err(CollectError::of_map(MAP)(error));
                false
            }
        });
        self.set(asked, NOT_ASKED)?;
        looked?;
        read.map(|()| indices)
    }

    /// The services of which all is elsewhere.
    fn gone(&self) -> Result<BTreeSet<u32>, CollectError> {
        let all = (0..).zip(self.asked.iter());
        let gone = all.filter(|(_, answer)| !matches!(answer, Ok(answer) if *answer != GONE));
        gone.map(|(index, answer)| answer.map(|_| index))
            .collect::<Result<_, _>>()
            .map_err(CollectError::of_map(MAP))
    }

    /// Forgets a service whose index is nobody's.
    pub(super) fn forget(&mut self, index: u32) -> Result<(), CollectError> {
        self.set([index], NOT_ASKED)
    }

    fn set(&mut self, indices: impl IntoIterator<Item = u32>, to: u64) -> Result<(), CollectError> {
        indices
            .into_iter()
            .try_for_each(|index| self.asked.set(index, to, 0).map_err(CollectError::of_map(MAP)))
    }
}
