//! How requests ended, counted from when the agent first saw their service. Series of requests leave when
//! they are idle, and a sum over those that are there would go back; these do not.

use std::collections::{BTreeMap, btree_map::Entry};

use probe_common::protocol::Protocol;

use super::increase::Increase;
use crate::{
    report::Endings,
    settings::ErrorClass,
    snapshot::{ServiceId, Snapshot},
};

/// The counts of all services.
pub(super) type AllEndings = BTreeMap<ServiceId, BTreeMap<Protocol, Endings>>;

/// Counts what came between the snapshots that an increase was taken of. Services that are new have all that they have, and those
/// that are gone have nothing.
pub(super) fn count(all: &mut AllEndings, increase: &Increase, later: &Snapshot, errors: ErrorClass) {
    all.retain(|id, _| later.services.contains_key(id));
    for (id, service) in &later.services {
        let before = match all.entry(id.clone()) {
            Entry::Occupied(known) => {
                let endings = known.into_mut();
                for (protocol, requests) in
                    increase.services.get(id).into_iter().flat_map(|service| &service.requests)
                {
                    endings.entry(*protocol).or_default().add(requests.endings);
                }
                endings
            }
            Entry::Vacant(new) => {
                let endings = new.insert(BTreeMap::new());
                for (kind, durations) in &service.requests {
                    endings.entry(kind.protocol).or_default().add(Endings::of(kind, durations.count, errors));
                }
                endings
            }
        };
        // There from the first request on, so that the first failure is a rise.
        for &protocol in service.in_flight.keys() {
            before.entry(protocol).or_default();
        }
    }
}
