//! The monitor's metrics: docs/reference/metrics.md is tested against this table.

use crate::export::names::{Kind, Metric, Since, Unit};

const REQUEST: &[&str] = &["collection", "request"];
const COLLECTION: &[&str] = &["collection"];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:ident, $labels:expr, $unit:ident, $help:literal;)*) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: $labels, unit: Unit::$unit, since: Since::Process, help: $help };)*
        /// All of them.
        #[cfg(test)]
        pub(super) const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    RUNS = "traffic_probe_monitor_runs_total", Counter, &["collection", "result"], Count,
        "Runs of the collection: passed, failed, or undone where newman could not run it or took too long.";
    REQUESTS = "traffic_probe_monitor_requests_total", Counter, &["collection", "request", "status_class"], Count,
        "Requests that the runs made, by the class of their answers' status; none where there was no answer.";
    DURATION = "traffic_probe_monitor_request_duration_seconds", Histogram, REQUEST, Seconds,
        "From sending a request to having its answer, as newman measured it, in milliseconds.";
    FAILURES = "traffic_probe_monitor_failures_total", Counter, &["collection", "request", "assertion"], Count,
        "What failed: a test by its name, no answer, or a script.";
    LAST_DURATION = "traffic_probe_monitor_last_request_duration_seconds", Gauge, REQUEST, Seconds,
        "The same of the last run; absent where there was no answer.";
    LAST_STATUS = "traffic_probe_monitor_last_request_status", Gauge, REQUEST, Count,
        "Status of the answer in the last run; 0 where there was none.";
    LAST_FAILURES = "traffic_probe_monitor_last_request_failures", Gauge, REQUEST, Count,
        "How much failed of a request in the last run.";
    LAST_SUCCESS = "traffic_probe_monitor_last_run_success", Gauge, COLLECTION, Count,
        "1 if every request of the last run was answered and no test failed, else 0.";
    LAST_RUN_DURATION = "traffic_probe_monitor_last_run_duration_seconds", Gauge, COLLECTION, Seconds,
        "How long the last run took; absent if it was undone.";
    LAST_RUN = "traffic_probe_monitor_last_run_timestamp_seconds", Gauge, COLLECTION, Seconds,
        "When the last run began.";
    LAST_GOOD_RUN = "traffic_probe_monitor_last_success_timestamp_seconds", Gauge, COLLECTION, Seconds,
        "When the last run began that passed; absent until there is one.";
}
