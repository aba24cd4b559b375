//! What is served, serialised when it is first asked for, and then not again before the next tick.
//!
//! A node has thousands of services and may have many who ask. Each service is serialised for itself, so that any choice
//! of them is put together from what is there.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use axum::body::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{Event, Features, Interfaces, Node, Service, Tick, Tiers};
use crate::{latest::Latest, report::Report, snapshot::ServiceId};

/// The documents of the latest report.
#[derive(Debug)]
pub(super) struct Documents {
    latest: Arc<Latest>,
    current: Mutex<Option<Arc<Rendered>>>,
}

/// A report, with what was serialised of it.
#[derive(Clone, Debug)]
pub(super) struct Current {
    report: Arc<Report>,
    rendered: Arc<Rendered>,
}

/// What was serialised of a report. It does not keep the report itself: once nobody asks, that would be kept for good.
#[derive(Debug)]
struct Rendered {
    /// Which report it is of: no two were taken at once.
    taken: Instant,
    tick: Tick,
    services: OnceLock<Vec<(ServiceId, Box<RawValue>)>>,
    interfaces: OnceLock<Bytes>,
    event: OnceLock<Bytes>,
}

/// [`super::Services`] of parts that are serialised already.
#[derive(Serialize)]
struct Chosen<'a> {
    tick: &'a Tick,
    services: Vec<&'a RawValue>,
}

impl Documents {
    pub(super) fn new(latest: Arc<Latest>) -> Self {
        Self { latest, current: Mutex::default() }
    }

    /// Those of the latest report; none before the first.
    pub(super) fn current(&self) -> Option<Current> {
        self.latest.get().map(|report| self.of(report))
    }

    /// Those of a report that may be the latest.
    pub(super) fn of(&self, report: Arc<Report>) -> Current {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = report.snapshot.taken;
        if let Some(rendered) = current.as_ref().filter(|rendered| rendered.taken == taken) {
            return Current { rendered: Arc::clone(rendered), report };
        }
        let rendered = Arc::new(Rendered::new(&report));
        *current = Some(Arc::clone(&rendered));
        Current { report, rendered }
    }
}

impl Rendered {
    fn new(report: &Report) -> Self {
        Self {
            taken: report.snapshot.taken,
            tick: Tick::of(report),
            services: OnceLock::new(),
            interfaces: OnceLock::new(),
            event: OnceLock::new(),
        }
    }
}

impl Current {
    /// The services that are asked for; none if there are none of them.
    pub(super) fn services(&self, asked: impl Fn(&ServiceId) -> bool) -> serde_json::Result<Option<Bytes>> {
        let all = once(&self.rendered.services, || self.render_services())?;
        let services: Vec<_> = all.iter().filter(|(id, _)| asked(id)).map(|(_, json)| &**json).collect();
        if services.is_empty() {
            return Ok(None);
        }
        json(&Chosen { tick: &self.rendered.tick, services }).map(Some)
    }

    fn render_services(&self) -> serde_json::Result<Vec<(ServiceId, Box<RawValue>)>> {
        let services = self.report.snapshot.services.iter();
        services
            .map(|(id, totals)| Ok((id.clone(), to_raw_value(&Service::of(&self.report, id, totals))?)))
            .collect()
    }

    /// A list of no services.
    pub(super) fn no_services(&self) -> serde_json::Result<Bytes> {
        json(&Chosen { tick: &self.rendered.tick, services: Vec::new() })
    }

    pub(super) fn interfaces(&self) -> serde_json::Result<Bytes> {
        once(&self.rendered.interfaces, || json(&Interfaces::of(&self.report, self.rendered.tick))).cloned()
    }

    /// Not kept: it is short. None if the node cannot be read.
    pub(super) fn node(&self) -> serde_json::Result<Option<Bytes>> {
        Node::of(&self.report, self.rendered.tick).map(|node| json(&node)).transpose()
    }

    /// Not kept: it is short, and rarely asked for.
    pub(super) fn features(&self) -> serde_json::Result<Bytes> {
        json(&Features::of(&self.report, self.rendered.tick))
    }

    /// Not kept: it is short, and who asks for it asks for some of it.
    pub(super) fn tiers(&self, asked: impl Fn(&ServiceId) -> bool) -> serde_json::Result<Bytes> {
        json(&Tiers::of(&self.report, self.rendered.tick, asked))
    }

    /// The event of the tick, in the form of server-sent events.
    pub(super) fn event(&self) -> serde_json::Result<Bytes> {
        once(&self.rendered.event, || {
            let event = serde_json::to_string(&Event::of(&self.report, self.rendered.tick))?;
            Ok(format!("event: tick\ndata: {event}\n\n").into())
        })
        .cloned()
    }
}

fn json(document: &impl Serialize) -> serde_json::Result<Bytes> {
    serde_json::to_vec(document).map(Bytes::from)
}

/// If two clients ask first at once, both serialise and one result is kept.
fn once<T>(place: &OnceLock<T>, render: impl FnOnce() -> serde_json::Result<T>) -> serde_json::Result<&T> {
    if let Some(there) = place.get() {
        return Ok(there);
    }
    let rendered = render()?;
    Ok(place.get_or_init(|| rendered))
}
