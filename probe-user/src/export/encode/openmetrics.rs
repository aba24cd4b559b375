//! The text format of `OpenMetrics`, version 1.0: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use super::{
    super::{
        edges::Edges,
        names::{Kind, Metric},
        sink::{Labels, Sink},
    },
    Gone, Starts,
    lines::Lines,
    page::Page,
};
use crate::histogram::Histogram;

/// What the name of a counter's sample has beyond that of the counter.
const TOTAL: &str = "_total";

/// A page of `OpenMetrics`.
pub(super) struct OpenMetrics<'a> {
    lines: Lines<'a>,
    edges: &'a Edges,
    /// If it tells when counters were zero.
    starts: Option<Starts>,
    /// The present metric's name, without [`TOTAL`].
    name: &'static str,
    /// What its samples have behind that.
    suffix: &'static str,
    /// When it was zero, if that is told.
    created: Option<f64>,
}

impl<'a> OpenMetrics<'a> {
    pub(super) fn new(page: Page<'a>, edges: &'a Edges, starts: Option<Starts>) -> Self {
        // As the specification has numbers that are easy to compare as text, a whole one too has a point: `{:?}` is so.
        let seconds = edges
            .seconds()
            .map(|edge| if edge.fract() == 0.0 { format!("{edge:?}") } else { edge.to_string() });
        Self { lines: Lines::new(page, seconds), edges, starts, name: "", suffix: "", created: None }
    }

    pub(super) fn finish(mut self) -> Result<(), Gone> {
        self.lines.line(&["# EOF"]);
        self.lines.finish()
    }

    /// A series is whole but for when it was zero.
    fn created(&mut self) {
        if let Some(created) = self.created {
            self.lines.time(self.name, "_created", created);
        }
        self.lines.send_pieces();
    }
}

impl Sink for OpenMetrics<'_> {
    fn begin(&mut self, metric: &'static Metric) {
        let (kind, suffix) = match metric.kind {
            Kind::Counter => ("counter", TOTAL),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
            Kind::Untyped => ("unknown", ""),
        };
        self.suffix = suffix;
        self.name = metric.name.strip_suffix(suffix).unwrap_or(metric.name);
        let counts = matches!(metric.kind, Kind::Counter | Kind::Histogram);
        self.created = self.starts.filter(|_| counts).and_then(|starts| starts.of(metric));
        self.lines.line(&["# TYPE ", self.name, " ", kind]);
        if let Some(unit) = metric.unit.label() {
            self.lines.line(&["# UNIT ", self.name, " ", unit]);
        }
        self.lines.line(&["# HELP ", self.name, " ", metric.help]);
    }

    fn value(&mut self, labels: &Labels<'_>, value: f64) {
        self.lines.label(labels);
        self.lines.sample(self.name, self.suffix, value);
        self.created();
    }

    fn histogram(&mut self, labels: &Labels<'_>, histogram: &Histogram) {
        self.lines.label(labels);
        self.lines.classic(self.name, histogram, histogram.at_most(self.edges.buckets()));
        self.created();
    }
}
