//! The kernel's sparse histograms, put together by service and series.
//!
//! The table has an entry for each series and bucket, a hundred thousand of them, and is read at every tick, in the order of the
//! kernel's hash. Sorted first, the entries of a series follow each other, and the series come in the order of the maps that
//! they go into: to find the place of each one there would take longer than all the rest.

use std::{io, sync::Arc};

use aya::Ebpf;
use probe_common::{
    exchange::{CANCELLED, Ending, LatencyCell, LatencyKey, Span, code_of},
    protocol::{Method, Protocol},
};

use super::{batch::Batched, error::StartError};
use crate::{
    histogram::Histogram,
    snapshot::{RequestKind, Service},
};

/// An entry: what it is of, and what all CPUs together have in it.
type Entry = (LatencyKey, LatencyCell);

/// The table.
pub(super) struct Histograms {
    table: Batched<LatencyKey, LatencyCell>,
    /// What was read last. The memory is kept from one pass to the next.
    entries: Vec<Entry>,
}

impl Histograms {
    pub(super) fn take(ebpf: &Ebpf) -> Result<Self, StartError> {
        Ok(Self { table: Batched::of(ebpf, "LATENCIES")?, entries: Vec::new() })
    }

    /// Reads the table, and returns how many entries it has.
    pub(super) fn read(&mut self) -> io::Result<u64> {
        let entries = &mut self.entries;
        entries.clear();
        self.table.for_each(|key, cells| entries.push((*key, cells.iter().sum())))?;
        entries.sort_unstable_by_key(|(key, _)| place(key));
        Ok(entries.len() as u64)
    }

    /// The entries that were read, those of each service together: its index, and at least one entry.
    pub(super) fn by_service(&self) -> impl Iterator<Item = (u32, &[Entry])> {
        let stretches = self.entries.chunk_by(|(one, _), (next, _)| one.service == next.service);
        stretches.filter_map(|entries| Some((entries.first()?.0.service, entries)))
    }
}

/// Where an entry comes: by service, series and bucket. As a number, which is compared at once.
fn place(key: &LatencyKey) -> u128 {
    let series = u64::from(key.protocol) << 32
        | u64::from(key.method) << 24
        | u64::from(key.status) << 8
        | u64::from(key.route);
    u128::from(key.service) << 64
        | u128::from(series) << 24
        | u128::from(key.span) << 16
        | u128::from(key.bucket)
}

/// The histograms of a service from its entries, in their order. An entry that this agent does not know is of another
/// version's making, and is passed over.
///
/// # Errors
/// Those of `template`, which knows the route of an index; none where routes are not counted.
pub(super) fn gather<E>(
    entries: &[Entry],
    mut template: impl FnMut(u8) -> Result<Option<Arc<str>>, E>,
) -> Result<Service, E> {
    let mut service = Service::default();
    let mut requests: Vec<(RequestKind, Histogram)> = Vec::new();
    let mut series = None;
    for (key, LatencyCell { count, sum }) in entries {
        let (bucket, count, sum) = (key.bucket, *count, *sum);
        let Some(span) = Span::from_key(key.span) else { continue };
        if span == Span::RoundTrip {
            service.round_trips.add(bucket, count, sum);
            continue;
        }
        let (Some(protocol), Some(method)) = (Protocol::from_key(key.protocol), Method::from_key(key.method))
        else {
            continue;
        };
        if let Some(phase) = span.phase() {
            service.phases.entry((protocol, phase)).or_default().add(bucket, count, sum);
            continue;
        }
        if matches!(span, Span::Both | Span::Duration) {
            let of = (key.protocol, key.method, key.status, key.route);
            if series.replace(of) != Some(of) {
                let route = template(key.route)?;
                let (status, ending) = (code_of(key.status), Ending::of(key.status));
                let kind = RequestKind { protocol, method, status, route, ending };
                requests.push((kind, Histogram::default()));
            }
            if let Some((_, durations)) = requests.last_mut() {
                durations.add(bucket, count, sum);
            }
        }
        // Of an answer that did not come there was no first byte, whenever its client lost patience.
        if matches!(span, Span::Both | Span::FirstByte) && key.status != CANCELLED {
            service.first_byte.entry(protocol).or_default().add(bucket, count, sum);
        }
    }
    // Indices are not in the order of the templates that they stand for; and several stand for the one of those without.
    requests.sort_by(|(one, _), (other, _)| one.cmp(other));
    requests.dedup_by(|(later, durations), (kind, all)| {
        let same = later == kind;
        if same {
            all.merge(durations);
        }
        same
    });
    service.requests = requests.into_iter().collect();
    Ok(service)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use probe_common::phase::Phase;

    use super::*;

    fn key(span: Span) -> LatencyKey {
        LatencyKey {
            status: 200,
            bucket: 80,
            protocol: Protocol::Http1 as u8,
            method: Method::Get as u8,
            span: span as u8,
            ..LatencyKey::default()
        }
    }

    fn gathered<const N: usize>(entries: [(LatencyKey, u64, u64); N]) -> Service {
        let mut entries = entries.map(|(key, count, sum)| (key, LatencyCell { count, sum }));
        entries.sort_unstable_by_key(|(key, _)| place(key));
        let template =
            |route| Ok::<_, Infallible>((route != 0).then(|| Arc::from(if route < 8 { "/a" } else { "/" })));
        gather(&entries, template).unwrap_or_default()
    }

    fn kind(status: u16, route: Option<&str>) -> RequestKind {
        RequestKind {
            protocol: Protocol::Http1,
            method: Method::Get,
            status,
            route: route.map(Arc::from),
            ending: Ending::Whole,
        }
    }

    #[test]
    fn one_entry_serves_both_histograms_where_the_answer_came_at_once() {
        let service = gathered([
            (key(Span::Both), 3, 30),
            (key(Span::Duration), 2, 20),
            (LatencyKey { bucket: 81, ..key(Span::Duration) }, 1, 11),
            (key(Span::FirstByte), 2, 10),
        ]);
        let requests = &service.requests[&kind(200, None)];
        assert_eq!((requests.count, requests.sum), (6, 61));
        let first_byte = &service.first_byte[&Protocol::Http1];
        assert_eq!((first_byte.count, first_byte.sum), (5, 40));
    }

    #[test]
    fn series_are_told_apart_by_all_that_they_are_called() {
        let series = |status, route, count| (LatencyKey { status, route, ..key(Span::Both) }, count, count);
        let service = gathered([
            series(200, 9, 1),
            series(404, 1, 2),
            series(200, 1, 4),
            series(200, 2, 8),
            series(0, 0, 16),
        ]);
        let counts: Vec<_> =
            service.requests.iter().map(|(kind, durations)| (kind.clone(), durations.count)).collect();
        let wanted = [
            (kind(0, None), 16),
            (kind(200, Some("/")), 1),
            // Two indices that stand for one template.
            (kind(200, Some("/a")), 12),
            (kind(404, Some("/a")), 2),
        ];
        assert_eq!(counts, wanted);
    }

    #[test]
    fn phases_and_round_trips_are_kept_apart_from_requests() {
        let round_trip = LatencyKey { protocol: 0, ..key(Span::RoundTrip) };
        let service =
            gathered([(key(Span::Queue), 3, 30), (round_trip, 4, 40), (key(Span::Admission), 5, 50)]);
        assert_eq!(service.phases[&(Protocol::Http1, Phase::Queue)].count, 3);
        assert_eq!(service.round_trips.count, 4);
        assert!(service.requests.is_empty() && service.first_byte.is_empty());
    }

    #[test]
    fn a_key_of_another_version_is_passed_over() {
        let service = gathered([(LatencyKey { protocol: 200, ..key(Span::Both) }, 1, 1)]);
        assert_eq!(service, Service::default());
    }
}
