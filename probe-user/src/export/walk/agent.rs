//! What the probe says of itself.

use super::super::{names, sink::Sink};
use crate::snapshot::{Snapshot, Table};

/// A figure of a table.
type OfTable = fn(&Table) -> u64;

pub(super) fn build_info(sink: &mut impl Sink) {
    sink.family(&names::BUILD_INFO).add(&[env!("CARGO_PKG_VERSION")], 1.0);
}

pub(super) fn write(sink: &mut impl Sink, snapshot: &Snapshot) {
    let mut features = sink.family(&names::FEATURE);
    for state in &snapshot.features {
        features.add(&[state.feature.name()], if state.missing.is_none() { 1.0 } else { 0.0 });
    }
    let mut unmeasured = sink.family(&names::UNMEASURED);
    for (reason, count) in &snapshot.unmeasured {
        unmeasured.add(&[reason.label()], *count as f64);
    }
    let of_tables: [(_, OfTable); 3] = [
        (&names::TABLE_ENTRIES, |table| table.entries),
        (&names::TABLE_CAPACITY, |table| table.capacity),
        (&names::TABLE_BYTES, |table| table.bytes),
    ];
    for (metric, of) in of_tables {
        let mut family = sink.family(metric);
        for table in &snapshot.tables {
            family.add(&[table.name], of(table) as f64);
        }
    }
    sink.family(&names::COLLECTION).add(&[], snapshot.collection.as_secs_f64());
}
