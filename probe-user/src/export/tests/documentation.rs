//! Keeps `docs/reference/metrics.md` true: it, the table of names and what is rendered list the same metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use probe_common::reason::Reason;

use super::{names, rendered, sample};
use crate::feature::{self, Feature};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");

/// A row of the reference: type and labels.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    kind: String,
    labels: BTreeSet<String>,
}

/// The rows of the reference's tables, by metric. A row is `| name | type | labels | meaning | source |`.
fn documented() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(DOCUMENT).expect("docs/reference/metrics.md");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    // Those of `traffic-probe monitor` are its own: see `monitor/metrics/tests.rs`.
    let of_agent = |line: &&str| line.starts_with("| `") && !line.starts_with("| `traffic_probe_monitor_");
    let rows = text.lines().filter(of_agent).map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "five cells: {line}");
        assert!(cells[4].len() > 10 && !cells[5].is_empty(), "meaning and source: {line}");
        let labels = quoted(cells[3]).into_iter().collect();
        (quoted(cells[1]).remove(0), Row { kind: cells[2].to_owned(), labels })
    });
    rows.collect()
}

/// The metrics in a text exposition: types from `# TYPE`, labels from the series.
fn exported(text: &str) -> BTreeMap<String, Row> {
    let mut metrics = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a type");
            current = name.to_owned();
            metrics.insert(current.clone(), Row { kind: kind.to_owned(), labels: BTreeSet::new() });
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            // No value in the sample has a comma or an equals sign in it.
            let names = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
            let row = metrics.get_mut(&current).expect("a declared metric");
            row.labels.extend(names.filter(|name| name != "le"));
        }
    }
    metrics
}

#[test]
fn what_is_exported_is_documented_and_the_other_way_round() {
    assert_eq!(exported(&rendered(sample::report_by_route("/"))), documented());
}

#[test]
fn the_table_of_names_is_documented_and_the_other_way_round() {
    let row = |metric: &names::Metric| Row {
        kind: metric.kind.label().to_owned(),
        labels: metric.labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let table: BTreeMap<_, _> =
        names::ALL.iter().map(|metric| (metric.name.to_owned(), row(metric))).collect();
    // The `process_*` metrics are the Prometheus library's.
    let ours: BTreeMap<_, _> =
        documented().into_iter().filter(|(name, _)| name.starts_with("traffic_")).collect();
    assert_eq!(table, ours);
}

#[test]
fn every_feature_is_documented_in_its_own_words() {
    let text = fs::read_to_string(DOCUMENT).expect("docs/reference/metrics.md");
    for feature in Feature::ALL {
        let feature::Row { name, lost, mend, .. } = feature.row();
        let row = format!("\n| {name} | {lost} | {mend} |\n");
        assert!(text.contains(&row), "docs/reference/metrics.md lacks the row{row}");
    }
}

#[test]
fn every_reason_is_documented() {
    let text = fs::read_to_string(DOCUMENT).expect("docs/reference/metrics.md");
    for reason in Reason::ALL {
        assert!(text.contains(&format!("\n| {} | ", reason.label())), "{} is not explained", reason.label());
    }
}
