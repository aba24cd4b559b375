//! What the two text formats have in common: lines of a name, labels and a value.

use std::io::Write;

use super::{super::sink::Labels, page::Page};
use crate::histogram::Histogram;

/// Integers up to here are floats without loss; they are written as the integers that nearly all values are.
const EXACT: f64 = (1_u64 << 53) as f64;

/// A page of lines.
pub(super) struct Lines<'a> {
    page: Page<'a>,
    /// What each bucket's label `le` is, and what follows it; the last is that of all.
    edges: Vec<String>,
    /// Labels of the present series, without braces.
    labels: Vec<u8>,
    /// What all buckets of a series begin with.
    bucket: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Lines of a page, with these values of the label `le` but for that of all.
    pub(super) fn new(page: Page<'a>, edges: impl Iterator<Item = String>) -> Self {
        let edges = edges.chain(["+Inf".to_owned()]).map(|edge| format!("le=\"{edge}\"}} ")).collect();
        Self { page, edges, labels: Vec::new(), bucket: Vec::new() }
    }

    /// A line as it is.
    pub(super) fn line(&mut self, parts: &[&str]) {
        let bytes = self.page.bytes();
        for part in parts {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.push(b'\n');
    }

    /// The labels of the lines that come next.
    pub(super) fn label(&mut self, labels: &Labels<'_>) {
        self.labels.clear();
        for (name, value) in labels.iter() {
            if !self.labels.is_empty() {
                self.labels.push(b',');
            }
            self.labels.extend_from_slice(name.as_bytes());
            self.labels.extend_from_slice(b"=\"");
            push_escaped(&mut self.labels, value);
            self.labels.push(b'"');
        }
    }

    /// A sample with those labels.
    pub(super) fn sample(&mut self, name: &str, suffix: &str, value: f64) {
        let bytes = self.begin(name, suffix);
        push_float(bytes, value);
        bytes.push(b'\n');
    }

    /// A sample that is a time, in seconds since the epoch.
    pub(super) fn time(&mut self, name: &str, suffix: &str, time: f64) {
        // Writing to memory cannot fail.
        _ = writeln!(self.begin(name, suffix), "{time:.3}");
    }

    /// The samples of a classic histogram with those labels: how many are at most at each edge.
    pub(super) fn classic(&mut self, name: &str, histogram: &Histogram, counts: impl Iterator<Item = u64>) {
        self.bucket.clear();
        self.bucket.extend_from_slice(name.as_bytes());
        self.bucket.extend_from_slice(b"_bucket{");
        if !self.labels.is_empty() {
            self.bucket.extend_from_slice(&self.labels);
            self.bucket.push(b',');
        }
        let bytes = self.page.bytes();
        let mut integers = itoa::Buffer::new();
        for (count, edge) in counts.chain([histogram.count]).zip(&self.edges) {
            bytes.extend_from_slice(&self.bucket);
            bytes.extend_from_slice(edge.as_bytes());
            bytes.extend_from_slice(integers.format(count).as_bytes());
            bytes.push(b'\n');
        }
        self.sample(name, "_sum", histogram.sum as f64 / 1e9);
        self.sample(name, "_count", histogram.count as f64);
    }

    /// A series is whole.
    pub(super) fn send_pieces(&mut self) {
        self.page.send_pieces();
    }

    pub(super) fn finish(self) -> Result<(), super::Gone> {
        self.page.finish()
    }

    /// A sample up to its value.
    fn begin(&mut self, name: &str, suffix: &str) -> &mut Vec<u8> {
        let bytes = self.page.bytes();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(suffix.as_bytes());
        if !self.labels.is_empty() {
            bytes.push(b'{');
            bytes.extend_from_slice(&self.labels);
            bytes.push(b'}');
        }
        bytes.push(b' ');
        bytes
    }
}

/// The value of a label: backslash, quote and newline are what the formats escape. A zero, which Prometheus takes for the end of the
/// page, is in no name that the kernel or an API server admits; should it be, it is replaced.
fn push_escaped(bytes: &mut Vec<u8>, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n', '\0']) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.extend_from_slice(match rest.as_bytes()[at] {
            b'\n' => b"\\n",
            b'"' => b"\\\"",
            0 => "\u{fffd}".as_bytes(),
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    bytes.extend_from_slice(rest.as_bytes());
}

fn push_float(bytes: &mut Vec<u8>, value: f64) {
    if (0.0..EXACT).contains(&value) && value.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer below 2^53")]
        let integer = value as u64;
        return bytes.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    }
    if value.is_infinite() {
        return bytes.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
    // Writing to memory cannot fail.
    _ = write!(bytes, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn values_are_written_as_the_formats_have_them() {
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
            assert_eq!(text(|bytes| push_float(bytes, value)), expected);
        }
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let escaped = |value| text(|bytes| push_escaped(bytes, value));
        assert_eq!(escaped("plain"), "plain");
        assert_eq!(escaped("\"\\\n"), "\\\"\\\\\\n");
        assert_eq!(escaped("é\\ü\""), "é\\\\ü\\\"");
        assert_eq!(escaped("a\0b"), "a\u{fffd}b");
    }
}
