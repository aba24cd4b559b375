//! A metric with its series, in Prometheus' text format (version 0.0.4).

use std::{fmt::Write, sync::LazyLock};

use super::{
    names::{Kind, Metric},
    page::Page,
};
use crate::{histogram::Histogram, place::Place};

/// The edges of the classic histograms are powers of two: 2^-17 s (about 8 µs) to 2^5 s (32 s).
const EDGES: std::ops::RangeInclusive<i32> = -17..=5;

/// The last label of each bucket, and what follows it.
static EDGE_LABELS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let finite = EDGES.map(|exponent| f64::from(exponent).exp2().to_string());
    finite.chain(["+Inf".to_owned()]).map(|edge| format!("le=\"{edge}\"}} ")).collect()
});

/// Integers up to here are floats without loss; they are written as the integers that nearly all values are.
const EXACT: f64 = (1_u64 << 53) as f64;

/// A metric whose series are being written.
pub(super) struct Family<'p, 'a> {
    page: &'p mut Page<'a>,
    metric: &'static Metric,
    /// Labels of the present series, without braces.
    labels: String,
    declared: bool,
}

impl<'p, 'a> Family<'p, 'a> {
    pub(super) const fn new(page: &'p mut Page<'a>, metric: &'static Metric) -> Self {
        Self { page, metric, labels: String::new(), declared: false }
    }

    /// Adds a series with a value. The labels' values are in the order of [`Metric::labels`]; one that is empty is left out,
    /// which to Prometheus is the same.
    pub(super) fn add(&mut self, labels: &[&str], value: f64) {
        self.add_at(None, labels, value);
    }

    /// The same of a service, with the labels of where it runs.
    pub(super) fn add_at(&mut self, place: Option<&Place>, labels: &[&str], value: f64) {
        self.begin(place, labels);
        self.name("", !self.labels.is_empty());
        let text = self.page.text();
        if !self.labels.is_empty() {
            text.push_str(&self.labels);
            text.push('}');
        }
        text.push(' ');
        push_float(text, value);
        text.push('\n');
        self.page.send_pieces();
    }

    /// Adds a series of a service's histogram.
    pub(super) fn add_histogram(&mut self, place: Option<&Place>, labels: &[&str], histogram: &Histogram) {
        self.begin(place, labels);
        let mut integers = itoa::Buffer::new();
        let counts = histogram.at_most_powers_of_two(EDGES).chain([histogram.count]);
        for (count, edge) in counts.zip(EDGE_LABELS.iter()) {
            self.name("_bucket", true);
            let text = self.page.text();
            if !self.labels.is_empty() {
                text.push_str(&self.labels);
                text.push(',');
            }
            text.push_str(edge);
            text.push_str(integers.format(count));
            text.push('\n');
        }
        for (suffix, value) in [("_sum", histogram.sum as f64 / 1e9), ("_count", histogram.count as f64)] {
            self.name(suffix, true);
            let text = self.page.text();
            text.push_str(&self.labels);
            text.push_str("} ");
            push_float(text, value);
            text.push('\n');
        }
        self.page.send_pieces();
    }

    /// Begins a series, the first one with what is said of all.
    fn begin(&mut self, place: Option<&Place>, values: &[&str]) {
        let Self { page, metric, labels, declared } = self;
        debug_assert_eq!(values.len(), metric.labels.len(), "{}", metric.name);
        if !std::mem::replace(declared, true) {
            let Metric { name, help, kind, .. } = metric;
            // Writing to a string cannot fail.
            _ = writeln!(page.text(), "# HELP {name} {help}\n# TYPE {name} {}", kind.label());
        }
        labels.clear();
        let own = metric.labels.iter().copied().zip(values.iter().copied());
        let of_place = place.into_iter().flat_map(|place| Place::LABELS.into_iter().zip(place.values()));
        for (label, value) in own.chain(of_place).filter(|(_, value)| !value.is_empty()) {
            if !labels.is_empty() {
                labels.push(',');
            }
            labels.push_str(label);
            labels.push_str("=\"");
            push_escaped(labels, value);
            labels.push('"');
        }
        debug_assert!(metric.kind != Kind::Histogram || !labels.is_empty(), "{}", metric.name);
    }

    fn name(&mut self, suffix: &str, has_labels: bool) {
        let name = self.metric.name;
        let text = self.page.text();
        text.push_str(name);
        text.push_str(suffix);
        if has_labels {
            text.push('{');
        }
    }
}

/// The value of a label: backslash, quote and newline are what the format escapes. A zero, which Prometheus takes for the end of the
/// page, is in no name that the kernel or an API server admits; should it be, it is replaced.
fn push_escaped(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n', '\0']) {
        text.push_str(&rest[..at]);
        text.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'"' => "\\\"",
            0 => "\u{fffd}",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

fn push_float(text: &mut String, value: f64) {
    if (0.0..EXACT).contains(&value) && value.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer below 2^53")]
        let integer = value as u64;
        return text.push_str(itoa::Buffer::new().format(integer));
    }
    if value.is_infinite() {
        return text.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    // Writing to a string cannot fail.
    _ = write!(text, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_format_has_them() {
        let written = |value| {
            let mut text = String::new();
            push_float(&mut text, value);
            text
        };
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (0.25, "0.25"),
            (9_007_199_254_740_991.0, "9007199254740991"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(written(value), expected);
        }
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let escaped = |value| {
            let mut text = String::new();
            push_escaped(&mut text, value);
            text
        };
        assert_eq!(escaped("plain"), "plain");
        assert_eq!(escaped("\"\\\n"), "\\\"\\\\\\n");
        assert_eq!(escaped("é\\ü\""), "é\\\\ü\\\"");
        assert_eq!(escaped("a\0b"), "a\u{fffd}b");
    }
}
