//! The latest report, handed from the thread that collects to those that serve.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use crate::report::Report;

/// Holds the latest report; swapped as a whole each tick.
#[derive(Debug)]
pub struct Latest {
    started: Instant,
    report: RwLock<Option<Arc<Report>>>,
}

impl Default for Latest {
    fn default() -> Self {
        Self { started: Instant::now(), report: RwLock::default() }
    }
}

impl Latest {
    /// Replaces the report.
    pub fn publish(&self, report: Arc<Report>) {
        *self.report.write().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }

    /// The latest report; none before the first.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Report>> {
        self.report.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When the latest snapshot was taken; before the first, when waiting for it began.
    #[must_use]
    pub fn collected(&self) -> Instant {
        self.get().map_or(self.started, |report| report.snapshot.taken)
    }
}
