//! The formats of `/metrics`, each an encoder.

mod lines;
mod openmetrics;
mod page;
mod protobuf;
mod text;

pub use page::Gone;

use super::{
    edges::Edges,
    names::{Metric, Since},
    walk::{Process, walk},
};
use crate::report::Report;
use page::Page;

/// A format that Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Text,
    /// `OpenMetrics`, version 1.0.
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each behind its length.
    Protobuf,
}

impl Format {
    /// Its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// What histograms look like where a format has both forms: in protobuf. The text formats have classic ones only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Histograms {
    /// Classic ones: counts at the edges of `--buckets`.
    #[default]
    Classic,
    /// Native ones: the kernel's own buckets, eight to a doubling.
    Native,
    /// Both, in the same series.
    Both,
}

impl Histograms {
    const fn classic(self) -> bool {
        matches!(self, Self::Classic | Self::Both)
    }

    const fn native(self) -> bool {
        matches!(self, Self::Native | Self::Both)
    }
}

/// What of the encoders can be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The form of histograms in protobuf.
    pub histograms: Histograms,
    /// The edges of classic histograms.
    pub edges: Edges,
    /// Whether `OpenMetrics` tells when counters were zero (`_created`): a series more for each counter and histogram. Protobuf does
    /// always, since it costs no series there.
    pub created: bool,
}

/// When counters were zero, in seconds since the epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Starts {
    pub(super) counting: Option<f64>,
    pub(super) boot: Option<f64>,
    pub(super) process: Option<f64>,
}

impl Starts {
    const fn of(&self, metric: &Metric) -> Option<f64> {
        match metric.since {
            Since::Counting => self.counting,
            Since::Boot => self.boot,
            Since::Process => self.process,
            Since::Unknown => None,
        }
    }
}

/// Writes a report in a format, in pieces of some 64 KiB.
pub(super) fn write(
    format: Format,
    options: &Options,
    starts: Starts,
    report: Option<&Report>,
    process: &Process,
    send: &mut dyn FnMut(Vec<u8>) -> Result<(), Gone>,
) -> Result<(), Gone> {
    let page = Page::new(send);
    match format {
        Format::Text => {
            let mut text = text::Text::new(page, &options.edges);
            walk(report, process, &mut text);
            text.finish()
        }
        Format::OpenMetrics => {
            let starts = options.created.then_some(starts);
            let mut text = openmetrics::OpenMetrics::new(page, &options.edges, starts);
            walk(report, process, &mut text);
            text.finish()
        }
        Format::Protobuf => {
            let encoding = protobuf::Encoding::new(options, starts);
            // A message stands behind its length, and a family is one message: so its length is found before it is written, and not
            // while all of it is kept.
            let mut lengths = protobuf::Lengths::new(&encoding);
            walk(report, process, &mut lengths);
            let mut messages = protobuf::Messages::new(page, &encoding, lengths.finish());
            walk(report, process, &mut messages);
            messages.finish()
        }
    }
}
