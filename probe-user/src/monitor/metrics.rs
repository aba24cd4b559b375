//! The results as Prometheus metrics. Names of requests and tests come from the collection, whose scripts may make them up
//! anew each time: only so many of each are told apart.

use std::collections::HashSet;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder, core::Collector,
};

use super::{
    names,
    results::{Request, Run},
};
use crate::export::names::Metric;

/// How many requests, and how many failing tests, have series of their own; the others are `other`.
const MOST_NAMES: usize = 500;
/// A longer name is cut.
const LONGEST_NAME: usize = 120;
const OTHER: &str = "other";

/// Edges of the histogram: powers of two from 1 ms to 32 s, which are among those of the kernel's histograms.
fn edges() -> Vec<f64> {
    (-10..=5).map(|exponent| f64::from(exponent).exp2()).collect()
}

/// Names that have been given series of their own.
#[derive(Debug, Default)]
struct Told(HashSet<String>);

impl Told {
    fn label(&mut self, name: &str) -> String {
        let end = name.char_indices().nth(LONGEST_NAME).map_or(name.len(), |(end, _)| end);
        let name = &name[..end];
        if self.0.contains(name) {
            return name.to_owned();
        }
        if self.0.len() == MOST_NAMES {
            return OTHER.to_owned();
        }
        self.0.insert(name.to_owned());
        name.to_owned()
    }
}

/// What the last run was like: enough for alerts, and all that makes sense of a process that runs it once.
#[derive(Debug)]
pub(super) struct State {
    collection: String,
    registry: Registry,
    requests: Told,
    duration: GaugeVec,
    status: GaugeVec,
    failures: GaugeVec,
    success: GaugeVec,
    run_duration: GaugeVec,
    run: GaugeVec,
    good_run: GaugeVec,
}

/// What all runs were like.
#[derive(Debug)]
pub(super) struct Totals {
    collection: String,
    registry: Registry,
    requests: Told,
    assertions: Told,
    runs: IntCounterVec,
    answers: IntCounterVec,
    durations: HistogramVec,
    failures: IntCounterVec,
}

fn options(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let made = made?;
    registry.register(Box::new(made.clone()))?;
    Ok(made)
}

fn counter(registry: &Registry, metric: &Metric) -> prometheus::Result<IntCounterVec> {
    registered(registry, IntCounterVec::new(options(metric), metric.labels))
}

fn gauge(registry: &Registry, metric: &Metric) -> prometheus::Result<GaugeVec> {
    registered(registry, GaugeVec::new(options(metric), metric.labels))
}

impl State {
    pub(super) fn new(collection: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauge = |metric| gauge(&registry, metric);
        Ok(Self {
            collection: collection.to_owned(),
            requests: Told::default(),
            duration: gauge(&names::LAST_DURATION)?,
            status: gauge(&names::LAST_STATUS)?,
            failures: gauge(&names::LAST_FAILURES)?,
            success: gauge(&names::LAST_SUCCESS)?,
            run_duration: gauge(&names::LAST_RUN_DURATION)?,
            run: gauge(&names::LAST_RUN)?,
            good_run: gauge(&names::LAST_GOOD_RUN)?,
            registry,
        })
    }

    /// Shows a run in place of the one before; none if it was undone.
    pub(super) fn show(&mut self, began: f64, run: Option<&Run>) {
        for of_requests in [&self.duration, &self.status, &self.failures, &self.run_duration] {
            of_requests.reset();
        }
        let of_collection = [self.collection.as_str()];
        let passed = run.is_some_and(|run| run.passed);
        self.run.with_label_values(&of_collection).set(began);
        self.success.with_label_values(&of_collection).set(f64::from(u8::from(passed)));
        if passed {
            self.was_good(began);
        }
        let Some(run) = run else { return };
        self.run_duration.with_label_values(&of_collection).set(run.duration_seconds);
        for request in &run.requests {
            let name = self.requests.label(&request.request);
            let labels = [self.collection.as_str(), &name];
            if let Some(seconds) = request.duration_seconds {
                self.duration.with_label_values(&labels).set(seconds);
            }
            self.status.with_label_values(&labels).set(request.status.map_or(0.0, f64::from));
            // A request that a run makes several times has failed if it did so once.
            self.failures.with_label_values(&labels).add(request.failures.len() as f64);
        }
    }

    /// Shows when the last run began that passed.
    pub(super) fn was_good(&self, began: f64) {
        self.good_run.with_label_values(&[self.collection.as_str()]).set(began);
    }

    /// In Prometheus' text format.
    pub(super) fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Totals {
    pub(super) fn new(collection: &str) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let histogram = HistogramOpts::from(options(&names::DURATION)).buckets(edges());
        let runs = counter(&registry, &names::RUNS)?;
        // From the start, so that the first failure is an increase.
        for result in ["passed", "failed", "undone"] {
            runs.with_label_values(&[collection, result]);
        }
        Ok(Self {
            collection: collection.to_owned(),
            requests: Told::default(),
            assertions: Told::default(),
            runs,
            answers: counter(&registry, &names::REQUESTS)?,
            durations: registered(&registry, HistogramVec::new(histogram, names::DURATION.labels))?,
            failures: counter(&registry, &names::FAILURES)?,
            registry,
        })
    }

    /// Adds a run; none if it was undone.
    pub(super) fn add(&mut self, run: Option<&Run>) {
        let result = run.map_or("undone", |run| if run.passed { "passed" } else { "failed" });
        self.runs.with_label_values(&[self.collection.as_str(), result]).inc();
        for request in run.into_iter().flat_map(|run| &run.requests) {
            self.add_request(request);
        }
    }

    fn add_request(&mut self, request: &Request) {
        let name = self.requests.label(&request.request);
        let labels = [self.collection.as_str(), &name];
        self.answers.with_label_values(&[labels[0], labels[1], request.status_class()]).inc();
        if let Some(seconds) = request.duration_seconds {
            self.durations.with_label_values(&labels).observe(seconds);
        }
        for failure in &request.failures {
            let assertion = self.assertions.label(&failure.name);
            self.failures.with_label_values(&[labels[0], labels[1], &assertion]).inc();
        }
    }

    /// In Prometheus' text format.
    pub(super) fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests;
