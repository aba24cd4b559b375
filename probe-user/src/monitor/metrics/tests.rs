//! What is shown of runs, and that docs/reference/metrics.md lists it.

use std::{collections::BTreeSet, fs};

use super::{super::results::Failure, *};
use crate::export::names::Kind;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/metrics.md");

fn request(name: &str, status: Option<u16>, failures: &[&str]) -> Request {
    let failure = |name: &&str| Failure { name: (*name).to_owned(), message: String::new() };
    Request {
        request: name.to_owned(),
        status,
        duration_seconds: status.map(|_| 0.25),
        assertions: 3,
        failures: failures.iter().map(failure).collect(),
    }
}

fn run(requests: Vec<Request>) -> Run {
    let passed = requests.iter().all(|request| request.failures.is_empty());
    Run { collection: "shop".into(), started_timestamp_seconds: 7.0, duration_seconds: 2.0, passed, requests }
}

#[test]
fn a_run_is_shown_until_the_next_one() {
    let mut state = State::new("shop").unwrap();
    state.show(7.0, Some(&run(vec![request("a", Some(200), &[])])));
    state.show(8.0, Some(&run(vec![request("b", None, &["no answer", "fast"])])));
    let text = state.render().unwrap();
    for line in [
        "traffic_probe_monitor_last_request_status{collection=\"shop\",request=\"b\"} 0\n",
        "traffic_probe_monitor_last_request_failures{collection=\"shop\",request=\"b\"} 2\n",
        "traffic_probe_monitor_last_run_success{collection=\"shop\"} 0\n",
        "traffic_probe_monitor_last_run_timestamp_seconds{collection=\"shop\"} 8\n",
        "traffic_probe_monitor_last_success_timestamp_seconds{collection=\"shop\"} 7\n",
    ] {
        assert!(text.contains(line), "{line} is missing: {text}");
    }
    assert!(!text.contains("request=\"a\"") && !text.contains("last_request_duration"), "{text}");
    state.show(9.0, None);
    let text = state.render().unwrap();
    assert!(
        text.contains("last_run_success{collection=\"shop\"} 0\n") && !text.contains("request="),
        "{text}"
    );
}

#[test]
fn totals_add_up() {
    let mut totals = Totals::new("shop").unwrap();
    for requests in [vec![request("a", Some(200), &[])], vec![request("a", Some(503), &["fast"])]] {
        totals.add(Some(&run(requests)));
    }
    totals.add(None);
    let text = totals.render().unwrap();
    for line in [
        "traffic_probe_monitor_runs_total{collection=\"shop\",result=\"passed\"} 1\n",
        "traffic_probe_monitor_runs_total{collection=\"shop\",result=\"undone\"} 1\n",
        "traffic_probe_monitor_requests_total{collection=\"shop\",request=\"a\",status_class=\"5xx\"} 1\n",
        "traffic_probe_monitor_failures_total{assertion=\"fast\",collection=\"shop\",request=\"a\"} 1\n",
        "traffic_probe_monitor_request_duration_seconds_bucket{collection=\"shop\",request=\"a\",le=\"0.25\"} 2\n",
        "traffic_probe_monitor_request_duration_seconds_bucket{collection=\"shop\",request=\"a\",le=\"0.125\"} 0\n",
        "traffic_probe_monitor_request_duration_seconds_sum{collection=\"shop\",request=\"a\"} 0.5\n",
    ] {
        assert!(text.contains(line), "{line} is missing: {text}");
    }
}

#[test]
fn names_that_are_made_up_anew_each_time_do_not_become_series() {
    let mut totals = Totals::new("shop").unwrap();
    for number in 0..MOST_NAMES + 100 {
        let name = number.to_string();
        totals.add(Some(&run(vec![request(&name, Some(200), &[&name])])));
    }
    totals.add(Some(&run(vec![request("0", Some(200), &[&"ä".repeat(1000)])])));
    let text = totals.render().unwrap();
    let series = |name: &str| text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).count();
    assert_eq!(series("traffic_probe_monitor_requests_total"), MOST_NAMES + 1);
    let rest = "requests_total{collection=\"shop\",request=\"other\",status_class=\"2xx\"} 100\n";
    assert!(text.contains(rest), "the rest is counted together");
    assert!(text.lines().all(|line| line.len() < 500), "a name is cut");
}

/// The rows of docs/reference/metrics.md about the monitor: name, type and labels.
fn documented() -> Vec<(String, String, BTreeSet<String>)> {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `traffic_probe_monitor_"));
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "five cells: {line}");
        (quoted(cells[1]).remove(0), cells[2].to_owned(), quoted(cells[3]).into_iter().collect())
    };
    rows.map(row).collect()
}

#[test]
fn every_metric_is_documented_and_follows_the_conventions() {
    let table: Vec<_> = names::ALL
        .iter()
        .map(|metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            (metric.name.to_owned(), metric.kind.label().to_owned(), labels)
        })
        .collect();
    assert_eq!(table, documented());
    for metric in names::ALL {
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
}
