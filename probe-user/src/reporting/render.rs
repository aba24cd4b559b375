//! A report for people: a table, and what the tiers call for.

use std::fmt::Write;

use super::summary::{InProtocol, Line, Report};
use crate::{
    api::{Tier, Transport},
    figures::{bits, duration, grouped, rate},
    visible::visible,
};

/// Over the columns of the table, each to the right but for those with words.
const HEADINGS: [&str; 11] =
    ["SERVICE", "TIER", "PROTOCOL", "QPS", "IN", "OUT", "USERS", "AVG", "P95", "P99", "ERRORS"];

/// Columns with words, which come first.
const WORDS: usize = 3;

/// So many names are told of those that have a tier in common.
const NAMES: usize = 8;

/// What is not known.
const NOTHING: &str = "-";

type Row = [String; HEADINGS.len()];

/// The report.
pub(super) fn text(report: &Report) -> String {
    if report.services.is_empty() {
        return "no server had a connection or a datagram since the agent started\n".to_owned();
    }
    let mut text = String::new();
    table(&mut text, &report.services);
    text.push('\n');
    match report.tick.window_seconds {
        None => text.push_str("rates and tiers are a moment away: ask again\n"),
        Some(window) => {
            calls(&mut text, &report.services);
            _ = writeln!(text, "rates, latency and errors are those of the last {}", duration(window));
        }
    }
    text
}

fn table(text: &mut String, services: &[Line]) {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(services.iter().flat_map(rows_of));
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    for row in &rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a string cannot fail.
            _ = if column < WORDS {
                write!(text, "{cell:width$}  ")
            } else {
                write!(text, "{cell:>width$}  ")
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

/// A row for each protocol, of which the first has what is the service's as a whole.
fn rows_of(line: &Line) -> Vec<Row> {
    let mut rows: Vec<_> = line.requests.iter().map(row_of).collect();
    if rows.is_empty() {
        rows.push(std::array::from_fn(|_| NOTHING.to_owned()));
    }
    let of_service = &mut rows[0];
    of_service[0] = name(line);
    of_service[1] = line.tier.as_ref().map_or_else(|| NOTHING.to_owned(), class);
    let bandwidth = line.bandwidth_bytes_per_second.map(|both| [both.receive, both.transmit]);
    for (way, column) in [4, 5].into_iter().enumerate() {
        of_service[column] = known(bandwidth.map(|both| both[way] * 8.0), bits);
    }
    of_service[6] = grouped(line.concurrent_users);
    rows
}

fn row_of(requests: &InProtocol) -> Row {
    let latency = requests.request_latency_seconds;
    let mut row: Row = std::array::from_fn(|_| String::new());
    row[2].clone_from(&requests.protocol);
    row[3] = known(requests.requests_per_second, rate);
    row[7] = known(latency.map(|latency| latency.avg), duration);
    row[8] = known(latency.map(|latency| latency.p95), duration);
    row[9] = known(latency.map(|latency| latency.p99), duration);
    row[10] = known(requests.error_ratio, |ratio| format!("{:.1} %", ratio * 100.0));
    row
}

fn known(value: Option<f64>, show: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| NOTHING.to_owned(), show)
}

/// `nginx:80`, and `dnsmasq:53/udp`.
fn name(line: &Line) -> String {
    let transport = if line.transport == Transport::Udp { "/udp" } else { "" };
    format!("{}:{}{transport}", visible(&line.service), line.port)
}

fn class(tier: &Tier) -> String {
    let rising = if tier.rising { ", rising" } else { "" };
    format!("{}{rising}", tier.class.label())
}

/// What each tier calls for, once for all services of which it does; they are in the order of their tiers.
fn calls(text: &mut String, services: &[Line]) {
    let tiers = services.iter().filter_map(|line| Some((line.tier.as_ref()?, line)));
    let mut calls: Vec<(&Tier, Vec<String>)> = Vec::new();
    for (tier, line) in tiers {
        match calls.iter_mut().find(|(other, _)| other.calls_for == tier.calls_for) {
            Some((_, names)) => names.push(name(line)),
            None => calls.push((tier, vec![name(line)])),
        }
    }
    for (tier, names) in calls {
        let more = names.len().saturating_sub(NAMES);
        let mut list = names[..names.len() - more].join(", ");
        if more > 0 {
            _ = write!(list, " and {more} more");
        }
        _ = writeln!(text, "{}: {list}\n  {}\n", class(tier), tier.calls_for);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{Latency, Load, Rates, Tick},
        tier,
    };

    fn line(service: &str, class: tier::Tier, load_ratio: f64) -> Line {
        let load = Load {
            requests_per_second: 1500.0,
            bandwidth_bytes_per_second: 250_000.0,
            concurrent_users: 4.0,
        };
        let tier = Tier {
            class,
            rising: false,
            load_ratio,
            measure: tier::Measure::Requests,
            profile: tier::Profile::Api,
            profile_source: tier::ProfileSource::Inferred,
            load,
            calls_for: format!("Do what {} needs.", class.label()),
        };
        let latency = Latency { avg: 0.001, p50: 0.001, p95: 0.0042, p99: 1.5 };
        Line {
            service: service.to_owned(),
            port: 80,
            transport: Transport::Tcp,
            tier: Some(tier),
            bandwidth_bytes_per_second: Some(Rates { receive: 250_000.0, transmit: 30e6 }),
            concurrent_users: 4,
            requests: vec![InProtocol {
                protocol: "http1".to_owned(),
                requests_per_second: Some(1500.0),
                request_latency_seconds: Some(latency),
                error_ratio: Some(0.0125),
            }],
        }
    }

    fn report(services: Vec<Line>) -> Report {
        let tick =
            Tick { collected_timestamp_seconds: 1.0, collection_seconds: 0.001, window_seconds: Some(10.0) };
        Report { tick, services }
    }

    #[test]
    fn a_table_and_what_the_tiers_call_for() {
        let datagrams = Line {
            port: 53,
            transport: Transport::Udp,
            requests: Vec::new(),
            ..line("dns", tier::Tier::Low, 0.1)
        };
        let services =
            vec![line("api", tier::Tier::High, 1.5), line("web", tier::Tier::High, 1.2), datagrams];
        let expected = "\
SERVICE     TIER  PROTOCOL    QPS          IN           OUT  USERS     AVG     P95    P99  ERRORS
api:80      high  http1     1,500  2.0 Mbit/s  240.0 Mbit/s      4  1.0 ms  4.2 ms  1.5 s   1.2 %
web:80      high  http1     1,500  2.0 Mbit/s  240.0 Mbit/s      4  1.0 ms  4.2 ms  1.5 s   1.2 %
dns:53/udp  low   -             -  2.0 Mbit/s  240.0 Mbit/s      4       -       -      -       -

high: api:80, web:80
  Do what high needs.

low: dns:53/udp
  Do what low needs.

rates, latency and errors are those of the last 10.0 s
";
        assert_eq!(text(&report(services)), expected);
    }

    #[test]
    fn of_many_some_are_named() {
        let many = (0..20).map(|number| line(&number.to_string(), tier::Tier::Low, 0.0)).collect();
        let text = text(&report(many));
        assert!(text.contains("low: 0:80, 1:80, 2:80, 3:80, 4:80, 5:80, 6:80, 7:80 and 12 more\n"), "{text}");
    }

    #[test]
    fn nothing_is_said_to_a_terminal_by_a_name() {
        let text = text(&report(vec![line("a\u{1b}[2Jb\n", tier::Tier::Low, 0.0)]));
        assert!(text.contains("a\u{fffd}[2Jb\u{fffd}:80"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn before_there_are_rates_it_says_so() {
        let mut early = report(vec![Line { tier: None, ..line("api", tier::Tier::Low, 0.0) }]);
        early.tick.window_seconds = None;
        assert!(text(&early).ends_with("a moment away: ask again\n"));
        assert!(text(&report(Vec::new())).starts_with("no server had"));
    }
}
