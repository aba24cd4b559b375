//! From a row of snapshots to rates: what happened in the last `--window`.
//!
//! Kept are the latest snapshot and the *increases* between the ones before it, not the snapshots themselves: an
//! increase holds only what had traffic, and a counter that was reset between two snapshots (an interface that went
//! and came back, say) loses nothing of what was counted before. The sum of the increases is kept up to date, so that
//! a tick costs one pass over the snapshot and not one per tick of the window.

mod endings;
mod increase;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use endings::AllEndings;
use increase::Increase;

use crate::{
    report::{Rates, Report, RequestRates, ServiceRates},
    settings::ErrorClass,
    snapshot::{Service, Snapshot},
};

/// A window of many short ticks keeps this many steps at most: its length is then right to within a part of it.
const STEPS: u32 = 64;

/// The snapshots of the last while.
#[derive(Debug)]
pub struct Window {
    length: Duration,
    errors: ErrorClass,
    latest: Option<Arc<Snapshot>>,
    steps: VecDeque<Step>,
    sum: Increase,
    endings: AllEndings,
}

/// What was counted from one moment on.
#[derive(Debug)]
struct Step {
    from: Instant,
    increase: Increase,
}

impl Window {
    /// An empty window of a length; `errors` says which requests are failed ones.
    #[must_use]
    pub fn new(length: Duration, errors: ErrorClass) -> Self {
        Self {
            length,
            errors,
            latest: None,
            steps: VecDeque::new(),
            sum: Increase::default(),
            endings: AllEndings::new(),
        }
    }

    /// Takes the next snapshot in, and gives the totals and rates at its moment.
    pub fn push(&mut self, snapshot: Snapshot) -> Report {
        let snapshot = Arc::new(snapshot);
        if let Some(earlier) = self.latest.replace(Arc::clone(&snapshot)) {
            let increase = Increase::between(&earlier, &snapshot, self.errors);
            endings::count(&mut self.endings, &increase, &snapshot, self.errors);
            self.add_step(earlier.taken, increase);
            self.drop_old_steps(snapshot.taken);
        } else {
            endings::count(&mut self.endings, &Increase::default(), &snapshot, self.errors);
        }
        let rates = self.rates(&snapshot);
        let endings = self.endings.clone();
        Report { snapshot, rates, endings, tiers: BTreeMap::new(), resources: Arc::default() }
    }

    fn add_step(&mut self, from: Instant, increase: Increase) {
        self.sum.add(&increase);
        match self.steps.back_mut() {
            Some(last) if from.saturating_duration_since(last.from) < self.length / STEPS => {
                last.increase.add(&increase);
            }
            _ => self.steps.push_back(Step { from, increase }),
        }
    }

    /// Drops the steps that lie wholly before the window. The one that its start falls into stays, so that the
    /// window always spans its full length once there is that much.
    fn drop_old_steps(&mut self, now: Instant) {
        while self
            .steps
            .get(1)
            .is_some_and(|second| now.saturating_duration_since(second.from) >= self.length)
        {
            if let Some(first) = self.steps.pop_front() {
                self.sum.subtract(&first.increase);
            }
        }
    }

    fn rates(&self, snapshot: &Snapshot) -> Option<Rates> {
        let span = snapshot.taken.saturating_duration_since(self.steps.front()?.from);
        if span.is_zero() {
            return None;
        }
        let services = snapshot
            .services
            .iter()
            .map(|(id, service)| (id.clone(), self.sum.service_rates(id, service, span)))
            .collect();
        let interfaces = snapshot
            .interfaces
            .keys()
            .map(|name| (name.clone(), self.sum.interface_rates(name, span)))
            .collect();
        let node = self.sum.node.map(|bytes| bytes_per_second(bytes, span));
        Some(Rates { span, services, interfaces, node })
    }
}

impl Increase {
    fn service_rates(
        &self,
        id: &crate::snapshot::ServiceId,
        totals: &Service,
        span: Duration,
    ) -> ServiceRates {
        let increase = self.services.get(id);
        let mut rates = ServiceRates::default();
        if let Some(increase) = increase {
            rates.received = bytes_per_second(increase.received.bytes, span);
            rates.sent = bytes_per_second(increase.sent.bytes, span);
            rates.opened = increase.opened as f64 / span.as_secs_f64();
        }
        // What a service has had requests in it still has none in, when their series have left.
        for &protocol in totals.in_flight.keys().chain(totals.requests.keys().map(|kind| &kind.protocol)) {
            rates.requests.entry(protocol).or_insert_with(|| {
                increase
                    .and_then(|increase| increase.requests.get(&protocol))
                    .map_or_else(RequestRates::default, |requests| requests.rates(span))
            });
        }
        rates
    }

    fn interface_rates(&self, name: &str, span: Duration) -> crate::report::InterfaceRates {
        self.interfaces.get(name).map_or_else(Default::default, |volumes| {
            volumes.map(|families| {
                families.map(|transports| transports.map(|volume| bytes_per_second(volume.bytes, span)))
            })
        })
    }
}

impl increase::Requests {
    fn rates(&self, span: Duration) -> RequestRates {
        let (all, failed, cancelled) =
            (self.endings.all as f64, self.endings.failed as f64, self.endings.cancelled as f64);
        RequestRates {
            requests: all / span.as_secs_f64(),
            cancelled: cancelled / span.as_secs_f64(),
            transactions: (all - failed - cancelled) / span.as_secs_f64(),
            error_ratio: (all > 0.0).then(|| failed / all),
            durations: self.durations.clone(),
        }
    }
}

fn bytes_per_second(bytes: u64, span: Duration) -> f64 {
    bytes as f64 / span.as_secs_f64()
}

#[cfg(test)]
mod tests;
