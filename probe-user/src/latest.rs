//! The latest report, handed from the thread that collects to those that serve.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;

use crate::report::Report;

/// Holds the latest report; swapped as a whole each tick.
#[derive(Debug)]
pub struct Latest {
    started: Instant,
    report: watch::Sender<Option<Arc<Report>>>,
}

impl Default for Latest {
    fn default() -> Self {
        Self { started: Instant::now(), report: watch::Sender::default() }
    }
}

impl Latest {
    /// Replaces the report.
    pub fn publish(&self, report: Arc<Report>) {
        self.report.send_replace(Some(report));
    }

    /// The latest report; none before the first.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Report>> {
        self.report.borrow().clone()
    }

    /// Tells of each report that is published. Who is slow sees the latest only: nothing is kept for them.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Option<Arc<Report>>> {
        self.report.subscribe()
    }

    /// When the latest snapshot was taken; before the first, when waiting for it began.
    #[must_use]
    pub fn collected(&self) -> Instant {
        self.get().map_or(self.started, |report| report.snapshot.taken)
    }
}
