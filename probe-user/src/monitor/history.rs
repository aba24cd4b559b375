//! The runs so far, shared by who runs and who serves.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    failure::Undone,
    metrics::{State, Totals},
    results::Run,
};

/// What is kept of the runs.
#[derive(Debug)]
pub(super) struct History(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    state: State,
    totals: Totals,
    last: Latest,
    /// When the last run ended; at first, when there was none yet.
    ended: SystemTime,
}

/// The last run, for `/results`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Latest {
    /// What it came to; null until there was one, and if the last one was undone.
    pub(super) run: Option<Run>,
    /// Why it was undone, if it was: a sentence.
    pub(super) undone: Option<String>,
}

impl History {
    pub(super) fn new(collection: &str) -> prometheus::Result<Self> {
        let (state, totals) = (State::new(collection)?, Totals::new(collection)?);
        Ok(Self(Mutex::new(Kept { state, totals, last: Latest::default(), ended: SystemTime::now() })))
    }

    /// Adds a run that began at a moment and has just ended.
    pub(super) fn add(&self, began: SystemTime, done: Result<Run, Undone>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        kept.state.show(seconds, done.as_ref().ok());
        kept.totals.add(done.as_ref().ok());
        kept.ended = SystemTime::now();
        kept.last = match done {
            Ok(run) => Latest { run: Some(run), undone: None },
            Err(undone) => Latest { run: None, undone: Some(undone.to_string()) },
        };
    }

    /// The metrics, in Prometheus' text format: all of one run.
    pub(super) fn metrics(&self) -> prometheus::Result<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.totals.render()? + &kept.state.render()?)
    }

    /// The last run.
    pub(super) fn latest(&self) -> Latest {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// How long ago the last run ended.
    pub(super) fn age(&self) -> Duration {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner).ended;
        ended.elapsed().unwrap_or_default()
    }
}
