//! Which pass over the kernel's tables an answer is of.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::report::Report;

/// The pass over the kernel's tables that the figures are of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tick {
    /// When it began, in seconds since 1970.
    pub collected_timestamp_seconds: f64,
    /// How long it took.
    pub collection_seconds: f64,
    /// The time that rates and quantiles are taken over; null until there are two passes.
    pub window_seconds: Option<f64>,
}

impl Tick {
    pub(super) fn of(report: &Report) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let collected = now.saturating_sub(report.snapshot.taken.elapsed());
        Self {
            collected_timestamp_seconds: collected.as_secs_f64(),
            collection_seconds: report.snapshot.collection.as_secs_f64(),
            window_seconds: report.rates.as_ref().map(|rates| rates.span.as_secs_f64()),
        }
    }
}
