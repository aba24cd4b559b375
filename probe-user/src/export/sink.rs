//! What figures are shown to: an encoder is a [`Sink`], and [`super::walk`] shows it every figure once.
//!
//! An encoder knows metrics, labels and values. It does not know another encoder, or where a figure comes from.

use super::names::Metric;
use crate::{histogram::Histogram, place::Place};

/// Takes figures, metric by metric.
pub(super) trait Sink {
    /// A metric, whose series come next. One that has no series does not come at all.
    fn begin(&mut self, metric: &'static Metric);

    /// A series of it that is one value.
    fn value(&mut self, labels: &Labels<'_>, value: f64);

    /// A series of it that is a histogram: the kernel's own buckets, of which an encoder makes what its format has.
    fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram);

    /// A metric that may have series, which are then added to what this returns.
    fn family(&mut self, metric: &'static Metric) -> Family<'_, Self>
    where
        Self: Sized,
    {
        Family { sink: self, metric, has_begun: false }
    }
}

/// The labels of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
    place: Option<&'a Place>,
}

impl<'a> Labels<'a> {
    /// Names and values, in the order in which they are shown. One that is empty is left out, which to Prometheus is the same.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        let own = self.names.iter().copied().zip(self.values.iter().copied());
        let of_place = self.place.into_iter().flat_map(|place| Place::LABELS.into_iter().zip(place.values()));
        own.chain(of_place).filter(|(_, value)| !value.is_empty())
    }
}

/// A metric whose series are being shown to a sink.
pub(super) struct Family<'s, S> {
    sink: &'s mut S,
    metric: &'static Metric,
    has_begun: bool,
}

impl<S: Sink> Family<'_, S> {
    /// Adds a series with a value. The labels' values are in the order of [`Metric::labels`].
    pub(super) fn add(&mut self, labels: &[&str], value: f64) {
        self.add_at(None, labels, value);
    }

    /// The same of a service, with the labels of where it runs.
    pub(super) fn add_at(&mut self, place: Option<&Place>, labels: &[&str], value: f64) {
        self.begin();
        self.sink.value(&labelled(self.metric, labels, place), value);
    }

    /// Adds a series of a service's histogram.
    pub(super) fn add_histogram(&mut self, place: Option<&Place>, labels: &[&str], histogram: &Histogram) {
        self.begin();
        self.sink.histogram(&labelled(self.metric, labels, place), histogram);
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.sink.begin(self.metric);
        }
    }
}

fn labelled<'a>(metric: &'static Metric, values: &'a [&'a str], place: Option<&'a Place>) -> Labels<'a> {
    debug_assert_eq!(values.len(), metric.labels.len(), "{}", metric.name);
    Labels { names: metric.labels, values, place }
}
