//! Prometheus' protobuf format: messages `io.prometheus.client.MetricFamily`, each behind its length.
//!
//! The messages are those of <https://github.com/prometheus/client_model>, `io/prometheus/client/metrics.proto`. They are written field
//! by field, by what `prost` writes its own with: as objects, with a text each for twelve names and values a series, they would
//! take more time than all else. The tests read them back as such objects.

mod native;
mod wire;

use super::{
    super::{
        edges::Edges,
        names::{Kind, Metric},
        sink::{Labels, Sink},
    },
    Gone, Histograms, Options, Starts,
    page::Page,
};
use crate::histogram::Histogram;
use wire::{int, length_of, message, real, text, varint};

/// `MetricFamily`.
const NAME: u32 = 1;
const HELP: u32 = 2;
const TYPE: u32 = 3;
const METRIC: u32 = 4;
const UNIT: u32 = 5;

/// `Metric`.
const LABEL: u32 = 1;
const GAUGE: u32 = 2;
const COUNTER: u32 = 3;
const UNTYPED: u32 = 5;
const HISTOGRAM: u32 = 7;

/// `Counter`, `Gauge` and `Untyped`.
const VALUE: u32 = 1;
const COUNTER_CREATED: u32 = 3;

/// `Histogram`.
const COUNT: u32 = 1;
const SUM: u32 = 2;
const BUCKET: u32 = 3;
const HISTOGRAM_CREATED: u32 = 15;

/// `Bucket`.
const AT_MOST: u32 = 1;
const EDGE: u32 = 2;

/// How series become messages.
pub(super) struct Encoding<'a> {
    histograms: Histograms,
    edges: &'a Edges,
    /// With that of all.
    seconds: Vec<f64>,
    starts: Starts,
}

impl<'a> Encoding<'a> {
    pub(super) fn new(options: &'a Options, starts: Starts) -> Self {
        let Options { histograms, edges, .. } = options;
        let seconds = edges.seconds().chain([f64::INFINITY]).collect();
        Self { histograms: *histograms, edges, seconds, starts }
    }
}

/// A message `Metric` under way.
struct Series<'a> {
    encoding: &'a Encoding<'a>,
    metric: Option<&'static Metric>,
    /// When the present metric was zero, as a `Timestamp`; empty if that is not told.
    created: Vec<u8>,
    bytes: Vec<u8>,
    /// Of a message within.
    within: Vec<u8>,
}

impl<'a> Series<'a> {
    const fn new(encoding: &'a Encoding<'a>) -> Self {
        Self { encoding, metric: None, created: Vec::new(), bytes: Vec::new(), within: Vec::new() }
    }

    /// The head of a metric's message: all but its series.
    fn begin(&mut self, metric: &'static Metric) -> &[u8] {
        self.metric = Some(metric);
        self.created.clear();
        if let Some(time) = self.encoding.starts.of(metric) {
            wire::timestamp(&mut self.created, time);
        }
        self.bytes.clear();
        text(&mut self.bytes, NAME, metric.name);
        text(&mut self.bytes, HELP, metric.help);
        int(&mut self.bytes, TYPE, kind(metric.kind));
        if let Some(unit) = metric.unit.label() {
            text(&mut self.bytes, UNIT, unit);
        }
        &self.bytes
    }

    fn value(&mut self, labels: &Labels<'_>, value: f64) -> &[u8] {
        self.labels(labels);
        self.within.clear();
        real(&mut self.within, VALUE, value);
        let field = match self.metric.map_or(Kind::Untyped, |metric| metric.kind) {
            Kind::Counter => COUNTER,
            Kind::Gauge => GAUGE,
            Kind::Untyped | Kind::Histogram => UNTYPED,
        };
        if field == COUNTER && !self.created.is_empty() {
            message(&mut self.within, COUNTER_CREATED, &self.created);
        }
        message(&mut self.bytes, field, &self.within);
        &self.bytes
    }

    fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) -> &[u8] {
        self.labels(labels);
        let Self { encoding, within, .. } = self;
        within.clear();
        int(within, COUNT, histogram.count);
        real(within, SUM, histogram.sum as f64 / 1e9);
        if encoding.histograms.classic() {
            let counts = histogram.at_most(encoding.edges.buckets()).chain([histogram.count]);
            for (count, edge) in counts.zip(&encoding.seconds) {
                wire::head(within, BUCKET, 1 + length_of(count) + 1 + size_of::<f64>());
                int(within, AT_MOST, count);
                real(within, EDGE, *edge);
            }
        }
        if encoding.histograms.native() {
            native::write(within, histogram);
        }
        if !self.created.is_empty() {
            message(within, HISTOGRAM_CREATED, &self.created);
        }
        message(&mut self.bytes, HISTOGRAM, &self.within);
        &self.bytes
    }

    fn labels(&mut self, labels: &Labels<'_>) {
        self.bytes.clear();
        for (name, value) in labels.iter() {
            wire::pair(&mut self.bytes, LABEL, name, value);
        }
    }
}

/// Finds how long the message of each metric is.
pub(super) struct Lengths<'a> {
    series: Series<'a>,
    lengths: Vec<usize>,
}

impl<'a> Lengths<'a> {
    pub(super) const fn new(encoding: &'a Encoding<'a>) -> Self {
        Self { series: Series::new(encoding), lengths: Vec::new() }
    }

    pub(super) fn finish(self) -> Vec<usize> {
        self.lengths
    }
}

/// How long a series is in its metric's message.
const fn in_family(series: &[u8]) -> usize {
    1 + length_of(series.len() as u64) + series.len()
}

impl Sink for Lengths<'_> {
    fn begin(&mut self, metric: &'static Metric) {
        self.lengths.push(self.series.begin(metric).len());
    }

    fn value(&mut self, labels: &Labels<'_>, value: f64) {
        let more = in_family(self.series.value(labels, value));
        self.lengths.last_mut().into_iter().for_each(|length| *length += more);
    }

    fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        let more = in_family(self.series.histogram(labels, histogram));
        self.lengths.last_mut().into_iter().for_each(|length| *length += more);
    }
}

/// Writes the messages.
pub(super) struct Messages<'a> {
    page: Page<'a>,
    series: Series<'a>,
    lengths: std::vec::IntoIter<usize>,
}

impl<'a> Messages<'a> {
    /// Messages of these lengths.
    pub(super) fn new(page: Page<'a>, encoding: &'a Encoding<'a>, lengths: Vec<usize>) -> Self {
        Self { page, series: Series::new(encoding), lengths: lengths.into_iter() }
    }

    pub(super) fn finish(self) -> Result<(), Gone> {
        debug_assert_eq!(self.lengths.len(), 0, "as many metrics as were measured");
        self.page.finish()
    }
}

impl Sink for Messages<'_> {
    fn begin(&mut self, metric: &'static Metric) {
        let length = self.lengths.next().unwrap_or_default();
        let bytes = self.page.bytes();
        varint(bytes, length as u64);
        bytes.extend_from_slice(self.series.begin(metric));
    }

    fn value(&mut self, labels: &Labels<'_>, value: f64) {
        message(self.page.bytes(), METRIC, self.series.value(labels, value));
        self.page.send_pieces();
    }

    fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        message(self.page.bytes(), METRIC, self.series.histogram(labels, histogram));
        self.page.send_pieces();
    }
}

/// `MetricType`.
const fn kind(kind: Kind) -> u64 {
    match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Untyped => 3,
        Kind::Histogram => 4,
    }
}
