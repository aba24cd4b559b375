//! What the probe says of itself.

use super::{family::Family, names};
use crate::snapshot::Snapshot;

pub(super) fn build_info() -> Family {
    let mut family = Family::new(&names::BUILD_INFO);
    family.add(&[env!("CARGO_PKG_VERSION")], 1.0);
    family
}

pub(super) fn families(snapshot: &Snapshot) -> [Family; 5] {
    let mut unmeasured = Family::new(&names::UNMEASURED);
    for (reason, count) in &snapshot.unmeasured {
        unmeasured.add(&[reason.label()], *count as f64);
    }
    let mut entries = Family::new(&names::TABLE_ENTRIES);
    let mut capacity = Family::new(&names::TABLE_CAPACITY);
    let mut bytes = Family::new(&names::TABLE_BYTES);
    for table in &snapshot.tables {
        entries.add(&[table.name], table.entries as f64);
        capacity.add(&[table.name], table.capacity as f64);
        bytes.add(&[table.name], table.bytes as f64);
    }
    let mut collection = Family::new(&names::COLLECTION);
    collection.add(&[], snapshot.collection.as_secs_f64());
    [unmeasured, entries, capacity, bytes, collection]
}
