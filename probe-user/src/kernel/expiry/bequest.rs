//! What was counted under indices that are given back, of services that live on under another: it goes there, so that what is
//! shown of them does not go down, whatever becomes of the agent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use probe_common::{
    counters::ServiceCounters,
    exchange::{LatencyCell, LatencyKey},
    order::{Action, Order},
    service::OTHER,
};

use super::{
    Expiry,
    departure::{Shown, name_heirs},
    leaving::{Leaver, moved},
    series::Series,
};
use crate::{
    kernel::{collector::Maps, error::CollectError},
    snapshot::ServiceId,
};

/// Which service takes what another had, by their indices.
type Heirs = BTreeMap<u32, u32>;

/// Orders of which some go together: all of a group are carried out, or none.
#[derive(Default)]
struct Groups(Vec<Vec<Order>>);

impl Expiry {
    /// Moves what these services had to others of the same name, if there are. Nobody uses their indices any more.
    ///
    /// Series that no other has leave: they have been idle for as long as their service.
    pub(super) fn bequeath(
        &mut self,
        maps: &mut Maps,
        names: &HashMap<u32, ServiceId>,
        free: &BTreeSet<u32>,
        last: &HashMap<u32, ServiceCounters>,
    ) -> Result<(), CollectError> {
        let heirs = self.heirs(names, free);
        if heirs.is_empty() {
            return Ok(());
        }
        let counts = self.series_counts()?;
        let (mut leavers, mut groups) = self.estates(&heirs)?;
        name_heirs(&mut leavers, &counts, &mut Shown { names, routes: &mut maps.routes })?;
        groups.0.extend(leavers.iter().map(|leaver| leaver.orders().collect()));
        // Its counters at last: from then on it is gone.
        groups.0.extend(heirs.iter().map(|(index, heir)| counters(*index, *heir, &last[index])));
        let room = self.diversion.room();
        for orders in groups.batches(room) {
            self.diversion.carry_out(orders)?;
        }
        Ok(())
    }

    /// For each of them another service that is shown as the same: rather one that is found by its key.
    fn heirs(&self, names: &HashMap<u32, ServiceId>, free: &BTreeSet<u32>) -> Heirs {
        let mut living: HashMap<&ServiceId, (bool, u32)> = HashMap::new();
        for (&index, id) in names.iter().filter(|(index, _)| **index != OTHER && !free.contains(index)) {
            let candidate = (self.parked.contains(index), index);
            living.entry(id).and_modify(|best| *best = candidate.min(*best)).or_insert(candidate);
        }
        let heir = |index: &u32| Some((*index, living.get(names.get(index)?)?.1));
        free.iter().filter_map(heir).collect()
    }

    /// What services leave behind: their series, and orders for what belongs to none.
    fn estates(&mut self, heirs: &Heirs) -> Result<(Vec<Leaver>, Groups), CollectError> {
        let mut series: BTreeMap<Series, Vec<(LatencyKey, LatencyCell)>> = BTreeMap::new();
        let mut groups = Groups::default();
        self.tables.for_each_latency(|key, cell| {
            let Some(&heir) = heirs.get(&key.service) else { return };
            match Series::of(key) {
                Some(of) => series.entry(of).or_default().push((*key, *cell)),
                None => groups.0.push(vec![moved(key, LatencyKey { service: heir, ..*key }, cell)]),
            }
        })?;
        let leaver = |(series, entries): (Series, _)| {
            let rest = heirs[&series.service()];
            Leaver { series, entries, heir: None, rest }
        };
        Ok((series.into_iter().map(leaver).collect(), groups))
    }
}

/// Adds a service's counters to another's, and notes that they are there.
fn counters(index: u32, heir: u32, last: &ServiceCounters) -> Vec<Order> {
    let of = |service| LatencyKey { service, ..LatencyKey::default() };
    let numbers = (0..).zip(last.at_rest().numbers());
    let count = |(number, count)| Order {
        entry: of(heir),
        count,
        number,
        action: Action::Count as u32,
        ..Order::default()
    };
    let added = numbers.filter(|(_, count)| *count > 0).map(count);
    let gone = Order { entry: of(index), action: Action::LetGo as u32, ..Order::default() };
    added.chain([gone]).collect()
}

impl Groups {
    /// All orders in as many batches as it takes, none with more than there is room for.
    fn batches(self, room: usize) -> Vec<Vec<Order>> {
        let mut batches: Vec<Vec<Order>> = Vec::new();
        for mut group in self.0 {
            match batches.last_mut() {
                Some(batch) if batch.len() + group.len() <= room => batch.append(&mut group),
                _ => batches.push(group),
            }
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_not_torn() {
        let group = |length| vec![Order::default(); length];
        let batches = Groups(vec![group(3), group(4), group(5), group(1)]).batches(8);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [7, 6]);
        assert!(Groups::default().batches(8).is_empty());
    }

    #[test]
    fn counters_go_before_their_service_does() {
        let last = ServiceCounters { opened: 2, closed: 2, retransmitted: 7, ..ServiceCounters::default() };
        let orders = counters(1, 4, &last);
        let (gone, added) = orders.split_last().unwrap();
        assert_eq!((gone.action, gone.entry.service), (Action::LetGo as u32, 1));
        let added: Vec<_> =
            added.iter().map(|order| (order.entry.service, order.number, order.count)).collect();
        assert_eq!(added, [(4, 6, 7), (4, 7, 2), (4, 9, 2)]);
    }
}
