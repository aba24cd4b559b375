//! Prometheus' text format.

use prometheus::{TextEncoder, proto::MetricFamily};

use super::names;

/// The content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes the families down, in their order.
pub(super) fn encode(families: &[MetricFamily]) -> Result<String, prometheus::Error> {
    let encoder = TextEncoder::new();
    let mut text = String::new();
    for family in families {
        let start = text.len();
        encoder.encode_utf8(std::slice::from_ref(family), &mut text)?;
        if is_untyped(family.name()) {
            untype(&mut text, start, family.name());
        }
    }
    Ok(text)
}

fn is_untyped(name: &str) -> bool {
    names::ALL.iter().any(|metric| metric.name == name && metric.kind == names::Kind::Untyped)
}

/// The crate's encoder panics at the type `untyped`, so such a family comes here as a gauge.
fn untype(text: &mut String, start: usize, name: &str) {
    let line = format!("# TYPE {name} gauge\n");
    if let Some(found) = text[start..].find(&line) {
        let end = start + found + line.len();
        text.replace_range(end - "gauge\n".len()..end, "untyped\n");
    }
}
