//! The encoders show the same figures, each in its format.

use std::collections::BTreeMap;

use super::{
    super::{Edges, Exposition, Format, Histograms, Options, names},
    bytes, exposition,
    messages::{Histogram, Metric, MetricFamily, families},
    sample,
};

/// Samples as the text format has them, by name and labels: the value's bits, since equal is what they must be.
type Samples = BTreeMap<(String, BTreeMap<String, String>), u64>;

/// A bound's label, whichever way its number is written.
fn bound(seconds: f64) -> String {
    seconds.to_string()
}

fn add(samples: &mut Samples, name: &str, labels: &BTreeMap<String, String>, value: f64) {
    let before = samples.insert((name.to_owned(), labels.clone()), value.to_bits());
    assert_eq!(before, None, "{name} {labels:?} comes twice");
}

/// What a text page says, but for the agent's own process, whose figures are others each time.
fn of_text(page: &[u8]) -> Samples {
    let mut samples = Samples::new();
    for line in std::str::from_utf8(page).unwrap().lines().filter(|line| !line.starts_with(['#', 'p'])) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        // No value in the sample has a comma or a quote in it.
        let pairs = labels.strip_suffix('}').unwrap().split(',').filter_map(|pair| pair.split_once('='));
        let mut labels: BTreeMap<_, _> =
            pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect();
        if let Some(le) = labels.get_mut("le") {
            *le = bound(le.parse().unwrap());
        }
        add(&mut samples, name, &labels, value.parse().unwrap());
    }
    samples
}

/// What messages say, in samples of the text format.
fn of_messages(page: &[u8]) -> Samples {
    let mut samples = Samples::new();
    for family in families(page).iter().filter(|family| !family.name.starts_with("process_")) {
        for metric in &family.metric {
            of_metric(&mut samples, family, metric);
        }
    }
    samples
}

fn of_metric(samples: &mut Samples, family: &MetricFamily, metric: &Metric) {
    let name = &family.name;
    let labels: BTreeMap<_, _> =
        metric.label.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect();
    match (family.r#type, &metric.counter, &metric.gauge, &metric.untyped, &metric.histogram) {
        (Some(0), Some(counter), None, None, None) => add(samples, name, &labels, counter.value),
        (Some(1), None, Some(gauge), None, None) => add(samples, name, &labels, gauge.value),
        (Some(3), None, None, Some(untyped), None) => add(samples, name, &labels, untyped.value),
        (Some(4), None, None, None, Some(histogram)) => {
            for bucket in &histogram.bucket {
                let mut labels = labels.clone();
                labels.insert("le".into(), bound(bucket.upper_bound));
                add(samples, &format!("{name}_bucket"), &labels, bucket.cumulative_count as f64);
            }
            add(samples, &format!("{name}_sum"), &labels, histogram.sample_sum);
            add(samples, &format!("{name}_count"), &labels, histogram.sample_count as f64);
        }
        _ => panic!("{name} is not of its type: {metric:?}"),
    }
}

/// An exposition of the sample, with native histograms or not.
fn of_sample(histograms: Histograms) -> Exposition {
    exposition(sample::report_by_route("/")).with(Options { histograms, ..Options::default() })
}

#[test]
fn the_three_formats_show_the_same_figures() {
    let exposition = of_sample(Histograms::Classic);
    let text = of_text(&bytes(&exposition, Format::Text));
    assert!(text.len() > 400, "{}", text.len());
    assert_eq!(of_text(&bytes(&exposition, Format::OpenMetrics)), text);
    assert_eq!(of_messages(&bytes(&exposition, Format::Protobuf)), text);
    assert_eq!(of_messages(&bytes(&of_sample(Histograms::Both), Format::Protobuf)), text);
}

#[test]
fn every_metric_comes_once_with_its_type_and_unit() {
    let families = families(&bytes(&of_sample(Histograms::Classic), Format::Protobuf));
    let mut expected: Vec<_> = names::ALL.iter().chain(names::OF_PROCESS).collect();
    expected.sort_unstable_by_key(|metric| metric.name);
    let mut found: Vec<_> = families.iter().collect();
    found.sort_unstable_by_key(|family| &family.name);
    assert_eq!(found.len(), expected.len());
    for (family, metric) in found.into_iter().zip(expected) {
        assert_eq!((family.name.as_str(), family.help.as_str()), (metric.name, metric.help));
        assert_eq!(family.unit, metric.unit.label().unwrap_or_default());
        assert!(!family.metric.is_empty(), "{}", family.name);
    }
}

/// Native histograms of a page.
fn histograms(page: &[u8]) -> Vec<Histogram> {
    families(page)
        .into_iter()
        .flat_map(|family| family.metric)
        .filter_map(|metric| metric.histogram)
        .collect()
}

#[test]
fn native_buckets_are_the_kernels() {
    let both = histograms(&bytes(&of_sample(Histograms::Both), Format::Protobuf));
    assert!(both.len() > 5, "{}", both.len());
    for histogram in &both {
        assert_eq!((histogram.schema, histogram.zero_threshold), (Some(3), Some((-30.0_f64).exp2())));
        let native = histogram.native();
        let sum: i64 = native.iter().map(|(_, count)| count).sum();
        assert_eq!(sum.cast_unsigned() + histogram.zero_count, histogram.sample_count);
        // Powers of two are edges of both, and the counts at them agree.
        for bucket in &histogram.bucket {
            let at_most =
                native.iter().filter(|(index, _)| (f64::from(*index) / 8.0).exp2() <= bucket.upper_bound);
            let count: i64 = at_most.map(|(_, count)| count).sum();
            assert_eq!(
                count.cast_unsigned() + histogram.zero_count,
                bucket.cumulative_count,
                "{}",
                bucket.upper_bound
            );
        }
        // A millisecond is a little more than 2^-10 s: within the first bucket above it, whose upper edge is 2^(-79/8) s.
        assert_eq!(native.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [-79]);
    }
}

#[test]
fn only_what_was_asked_for_is_in_a_histogram() {
    let of = |form| histograms(&bytes(&of_sample(form), Format::Protobuf));
    assert!(of(Histograms::Classic).iter().all(|one| one.schema.is_none() && one.bucket.len() == 24));
    assert!(of(Histograms::Native).iter().all(|one| one.schema.is_some() && one.bucket.is_empty()));
    assert!(of(Histograms::Both).iter().all(|one| one.schema.is_some() && one.bucket.len() == 24));
}

#[test]
fn other_edges_are_those_of_all_formats() {
    let options = Options { edges: Edges::read(["0.0005", "0.5", "2"]).unwrap(), ..Options::default() };
    let exposition = exposition(sample::report("nginx")).with(options);
    let text = of_text(&bytes(&exposition, Format::Text));
    let of_one = |((name, labels), _): (&(String, BTreeMap<String, String>), &u64)| {
        let one = name == "traffic_tcp_rtt_seconds_bucket" && labels["role"] == "server";
        one.then(|| labels["le"].clone())
    };
    let edges: Vec<_> = text.iter().filter_map(of_one).collect();
    assert_eq!(edges.len(), 4, "{edges:?}");
    assert!(["0.5", "2", "inf"].iter().all(|edge| edges.iter().any(|found| found == edge)), "{edges:?}");
    assert_eq!(of_messages(&bytes(&exposition, Format::Protobuf)), text);
    assert_eq!(of_text(&bytes(&exposition, Format::OpenMetrics)), text);
}

#[test]
fn when_counters_were_zero_is_told_where_it_is_known() {
    let since = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_250);
    let exposition = exposition(sample::report("nginx")).counting_since(since);
    for family in families(&bytes(&exposition, Format::Protobuf)) {
        let created = family.metric.iter().map(|metric| {
            let counter = metric.counter.as_ref().and_then(|counter| counter.created_timestamp);
            counter.or_else(|| metric.histogram.as_ref()?.created_timestamp)
        });
        let created: Vec<_> = created.collect();
        let counts = matches!(family.r#type, Some(0 | 4));
        let known = counts && !family.name.starts_with("traffic_service_");
        assert!(created.iter().all(|time| time.is_some() == known), "{} {created:?}", family.name);
        if known && family.name.starts_with("traffic_") && !family.name.starts_with("traffic_node_") {
            let time = created[0].unwrap();
            assert_eq!((time.seconds, time.nanos), (1_700_000_000, 250_000_000), "{}", family.name);
        }
    }
    let openmetrics =
        |exposition: &Exposition| String::from_utf8(bytes(exposition, Format::OpenMetrics)).unwrap();
    assert!(!openmetrics(&exposition).contains("_created"));
    let text = openmetrics(&exposition.with(Options { created: true, ..Options::default() }));
    let labels = r#"{service="nginx",port="80",role="server"}"#;
    for name in ["traffic_connections_opened", "traffic_tcp_rtt_seconds"] {
        let line = format!("\n{name}_created{labels} 1700000000.250\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[test]
fn openmetrics_ends_and_names_counters_as_it_should() {
    let text = String::from_utf8(bytes(&of_sample(Histograms::Classic), Format::OpenMetrics)).unwrap();
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    assert!(
        text.contains("# TYPE traffic_bytes counter\n# UNIT traffic_bytes bytes\n# HELP traffic_bytes "),
        "{text}"
    );
    assert!(text.contains("\ntraffic_bytes_total{"), "{text}");
    assert!(text.contains("# TYPE traffic_request_latency_seconds unknown\n"), "{text}");
    assert!(text.contains(r#"le="1.0"} "#) && !text.contains(r#"le="1"} "#), "{text}");
}
