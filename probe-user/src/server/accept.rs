//! What a client accepts: formats by `Accept`, codings by `Accept-Encoding`, each with weights (RFC 9110, section 12.4.2).

use axum::http::{HeaderMap, HeaderName, header};

use super::coding::Coding;
use crate::export::Format;

/// An item of a list, with its parameters.
#[derive(Debug)]
struct Item<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    weight: f32,
}

impl<'a> Item<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let (mut parameters, mut weight) = (Vec::new(), 1.0);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let (name, value) = (name.trim(), value.trim().trim_matches('"'));
            if name.eq_ignore_ascii_case("q") {
                // One that cannot be read: what does not say what it is worth is worth nothing.
                weight = value.parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
            } else {
                parameters.push((name, value));
            }
        }
        Self { name, parameters, weight }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// The items of all lines of a field.
fn items<'a>(headers: &'a HeaderMap, field: &HeaderName) -> Vec<Item<'a>> {
    let lines = headers.get_all(field).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(Item::parse).collect()
}

/// The format that a client would like best of those that we have; text for one that does not care, or names none.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let mut items = items(headers, &header::ACCEPT);
    items.retain(|item| item.weight > 0.0);
    // Those of equal weight stay in the client's order.
    items.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    items.iter().find_map(format_of).unwrap_or(Format::Text)
}

fn format_of(item: &Item<'_>) -> Option<Format> {
    let version = |ours: &str| item.parameter("version").is_none_or(|version| version == ours);
    if item.is("application/vnd.google.protobuf") {
        let ours = item.parameter("proto") == Some("io.prometheus.client.MetricFamily")
            && item.parameter("encoding") == Some("delimited");
        return ours.then_some(Format::Protobuf);
    }
    if item.is("application/openmetrics-text") {
        return version("1.0.0").then_some(Format::OpenMetrics);
    }
    if item.is("text/plain") {
        return version("0.0.4").then_some(Format::Text);
    }
    (item.is("*/*") || item.is("text/*")).then_some(Format::Text)
}

/// The coding that a client would like best; of those that it likes as well as each other, the one that costs least.
pub(super) fn coding(headers: &HeaderMap) -> Coding {
    let items = items(headers, &header::ACCEPT_ENCODING);
    let weight = |names: &[&str]| {
        let named = items.iter().find(|item| names.iter().any(|name| item.is(name)));
        named.or_else(|| items.iter().find(|item| item.is("*"))).map(|item| item.weight)
    };
    // As it is suits everybody who does not say otherwise, but less than what they ask for.
    let mut best = (Coding::Identity, weight(&["identity"]).unwrap_or(f32::MIN_POSITIVE));
    for (coding, names) in [(Coding::Gzip, &["gzip", "x-gzip"][..]), (Coding::Zstd, &["zstd"])] {
        let weight = weight(names).unwrap_or(0.0);
        if weight > 0.0 && weight >= best.1 {
            best = (coding, weight);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(field: &HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (field.clone(), line.parse().unwrap())).collect()
    }

    fn format_for(lines: &[&str]) -> Format {
        format(&headers(&header::ACCEPT, lines))
    }

    fn coding_for(line: &str) -> Coding {
        coding(&headers(&header::ACCEPT_ENCODING, &[line]))
    }

    /// What Prometheus sends without and with native histograms (2.42 and 3.5), and what others do.
    #[test]
    fn each_client_gets_the_format_that_it_likes_best() {
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, expected) in [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
                 application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::Protobuf,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                Format::OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8", Format::Text),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", Format::OpenMetrics),
            ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", Format::Text),
            ("application/openmetrics-text;q=0,*/*;q=0.1", Format::Text),
            ("application/vnd.google.protobuf,text/plain;q=0.1", Format::Text),
            ("application/json;q=1.0,*/*;q=0.1", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            ("*/*", Format::Text),
            (";;=,q=,", Format::Text),
        ] {
            assert_eq!(format_for(&[accept]), expected, "{accept}");
        }
        assert_eq!(format_for(&[]), Format::Text);
        let protobuf = format!("{PROTOBUF};q=0.7");
        assert_eq!(format_for(&["text/plain;q=0.5", &protobuf]), Format::Protobuf, "two lines are one list");
    }

    #[test]
    fn each_client_gets_the_coding_that_it_likes_best() {
        for (accept, expected) in [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("GZIP;q=0.2", Coding::Gzip),
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("gzip;q=1.0, zstd;q=0.5", Coding::Gzip),
            ("gzip;q=0, zstd;q=0", Coding::Identity),
            ("identity, gzip;q=0.5", Coding::Identity),
            ("*", Coding::Zstd),
            ("*;q=0", Coding::Identity),
            ("gzip;q=0, *", Coding::Zstd),
            ("br, deflate", Coding::Identity),
            ("gzip;q=many", Coding::Identity),
            ("", Coding::Identity),
        ] {
            assert_eq!(coding_for(accept), expected, "{accept}");
        }
        assert_eq!(coding(&HeaderMap::new()), Coding::Identity);
    }
}
