//! A metric with its series, as the `prometheus` crate wants it.

use prometheus::proto::{self, Bucket, LabelPair, MetricFamily, MetricType};

use super::names::{Kind, Metric};
use crate::{histogram::Histogram, place::Place};

/// The edges of the classic histograms are powers of two: 2^-17 s (about 8 µs) to 2^5 s (32 s).
const EDGES: std::ops::RangeInclusive<i32> = -17..=5;

/// A metric whose series are being put together.
pub(super) struct Family {
    metric: &'static Metric,
    series: Vec<proto::Metric>,
}

impl Family {
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self { metric, series: Vec::new() }
    }

    /// Adds a series with a value. The labels' values are in the order of [`Metric::labels`]; one that is empty is left out,
    /// which to Prometheus is the same.
    pub(super) fn add(&mut self, labels: &[&str], value: f64) {
        self.add_at(None, labels, value);
    }

    /// The same of a service, with the labels of where it runs.
    pub(super) fn add_at(&mut self, place: Option<&Place>, labels: &[&str], value: f64) {
        let mut series = self.labelled(place, labels);
        if self.metric.kind == Kind::Counter {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            series.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            series.set_gauge(gauge);
        }
        self.series.push(series);
    }

    /// Adds a series of a service's histogram.
    pub(super) fn add_histogram(&mut self, place: Option<&Place>, labels: &[&str], histogram: &Histogram) {
        let mut series = self.labelled(place, labels);
        let buckets = EDGES.map(|exponent| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(f64::from(exponent).exp2());
            bucket.set_cumulative_count(histogram.at_most_power_of_two(exponent));
            bucket
        });
        let mut classic = proto::Histogram::default();
        classic.set_bucket(buckets.collect());
        classic.set_sample_count(histogram.count);
        classic.set_sample_sum(histogram.sum as f64 / 1e9);
        series.set_histogram(classic);
        self.series.push(series);
    }

    fn labelled(&self, place: Option<&Place>, values: &[&str]) -> proto::Metric {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        let own = self.metric.labels.iter().copied().zip(values.iter().copied());
        let of_place = place.into_iter().flat_map(|place| Place::LABELS.into_iter().zip(place.values()));
        let pairs = own.chain(of_place).filter(|(_, value)| !value.is_empty());
        let pair = |(name, value): (&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut series = proto::Metric::default();
        series.set_label(pairs.map(pair).collect());
        series
    }
}

impl From<Family> for MetricFamily {
    fn from(family: Family) -> Self {
        let mut result = Self::default();
        result.set_name(family.metric.name.to_owned());
        result.set_help(family.metric.help.to_owned());
        result.set_field_type(match family.metric.kind {
            Kind::Counter => MetricType::COUNTER,
            // The crate cannot write what has no type: see `text`.
            Kind::Gauge | Kind::Untyped => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        result.set_metric(family.series);
        result
    }
}
