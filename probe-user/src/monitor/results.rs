//! What a run came to: what `--once --format json` and `/results` show.

use serde::{Deserialize, Serialize};

/// A run of a collection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Run {
    /// The collection's name.
    pub(super) collection: String,
    /// When it began, in seconds since 1970.
    pub(super) started_timestamp_seconds: f64,
    /// How long it took: newman's start and end, and what the scripts of the collection wait for, included.
    pub(super) duration_seconds: f64,
    /// Whether every request was answered and no test failed.
    pub(super) passed: bool,
    /// Its requests, in the order in which they were made.
    pub(super) requests: Vec<Request>,
}

/// A request of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "as the label of its metrics")]
pub(super) struct Request {
    /// Its folders and its name, with `/` between them.
    pub(super) request: String,
    /// The status of its answer; null if there was none.
    pub(super) status: Option<u16>,
    /// From sending it to having its answer, as newman measured it; null if there was none.
    pub(super) duration_seconds: Option<f64>,
    /// How many of its tests were run.
    pub(super) assertions: u64,
    /// What failed.
    pub(super) failures: Vec<Failure>,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Failure {
    /// The test's name; `no answer` and `script` for what no test says.
    pub(super) name: String,
    /// What was found.
    pub(super) message: String,
}

impl Request {
    /// The class of its status: `2xx`, or `none`.
    pub(super) fn status_class(&self) -> &'static str {
        match self.status {
            Some(100..=199) => "1xx",
            Some(200..=299) => "2xx",
            Some(300..=399) => "3xx",
            Some(400..=499) => "4xx",
            Some(500..=599) => "5xx",
            Some(_) => "other",
            None => "none",
        }
    }
}
