//! The tables of the part.

use serde_json::{Map, Value};

use super::{
    condition::Condition,
    figures::{Figures, Rounds},
    load::Load,
};
use crate::{
    paired::{Comparison, Spread},
    table::Table,
};

/// A row for each load.
type Measure = (&'static str, fn(&Figures) -> Option<f64>);

const MEASURES: [Measure; 5] = [
    ("Throughput, requests a second", |figures| Some(figures.run.throughput)),
    ("The server's CPU time a request, µs", |figures| Some(figures.run.server_cpu)),
    ("The load generator's CPU time a request, µs", |figures| Some(figures.run.client_cpu)),
    ("P50, µs", Figures::median),
    ("P99, µs", Figures::tail),
];

/// A table for each measure, and one of what was counted.
pub(crate) fn tables(results: &[(Load, Rounds)]) -> Vec<Table> {
    let mut tables: Vec<Table> =
        MEASURES.iter().map(|(title, figure)| compared(title, results, *figure)).collect();
    tables.push(counted(results));
    tables
}

fn compared(title: &str, results: &[(Load, Rounds)], figure: fn(&Figures) -> Option<f64>) -> Table {
    let columns = [
        "load",
        "nothing",
        "empty programs",
        "calls alone",
        "probe",
        "empty / nothing",
        "calls / nothing",
        "probe / nothing",
        "probe / empty",
        "probe / calls",
    ];
    let mut table = Table::new(title, &columns);
    for (load, rounds) in results {
        let [nothing, empty, calls, probe] =
            Condition::ALL.map(|condition| rounds.figures(condition, figure));
        let mut row = vec![load.name().to_owned()];
        row.extend([&nothing, &empty, &calls, &probe].map(|figures| spread(figures)));
        let pairs =
            [(&empty, &nothing), (&calls, &nothing), (&probe, &nothing), (&probe, &empty), (&probe, &calls)];
        row.extend(pairs.map(|(figures, against)| {
            Comparison::of(figures, against).map_or_else(|| "-".to_owned(), |compared| compared.to_string())
        }));
        table.row(row);
    }
    table
}

fn spread(figures: &[f64]) -> String {
    Spread::of(figures).map_or_else(
        || "-".to_owned(),
        |Spread { median, low, high }| {
            let digits = if median < 100.0 { 2 } else { 0 };
            format!("{median:.digits$} ({low:.digits$}-{high:.digits$})")
        },
    )
}

/// What the agent counted against what client and server did, and how quiet the machine was.
fn counted(results: &[(Load, Rounds)]) -> Table {
    let columns = [
        "load",
        "requests answered",
        "missed",
        "invented",
        "agent's CPU",
        "others' CPU",
        "stolen by the host",
    ];
    let mut table = Table::new("Requests counted with the probe, and the machine meanwhile", &columns);
    for (load, rounds) in results {
        let with_probe = rounds.all().filter(|(condition, _)| *condition == Condition::Probe);
        let runs: Vec<&Figures> = with_probe.flat_map(|(_, figures)| figures).collect();
        let wrong: Option<Vec<(u64, u64)>> = runs.iter().map(|figures| figures.run.wrong()).collect();
        let wrong = wrong.map_or_else(
            || ["not measured".to_owned(), "not measured".to_owned()],
            |wrong| {
                let [missed, invented] =
                    [wrong.iter().map(|one| one.0).sum(), wrong.iter().map(|one| one.1).sum()];
                [missed, invented].map(|count: u64| count.to_string())
            },
        );
        let answered: u64 = runs.iter().map(|figures| figures.run.requests).sum();
        let all: Vec<&Figures> = rounds.all().flat_map(|(_, figures)| figures).collect();
        let share = |figures: Vec<f64>| {
            Spread::of(&figures)
                .map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share.median * 100.0))
        };
        let mut row = vec![load.name().to_owned(), answered.to_string()];
        row.extend(wrong);
        row.push(share(runs.iter().map(|figures| figures.agent_cpu).collect()));
        row.push(share(all.iter().map(|figures| figures.run.foreign).collect()));
        row.push(share(all.iter().map(|figures| figures.run.stolen).collect()));
        table.row(row);
    }
    table
}

/// Every figure of every round.
pub(crate) fn json(results: &[(Load, Rounds)]) -> Value {
    let load = |(load, rounds): &(Load, Rounds)| {
        let conditions = rounds.all().map(|(condition, figures)| {
            (condition.name().to_owned(), figures.iter().map(Figures::to_json).collect::<Vec<_>>().into())
        });
        (load.name().to_owned(), Value::Object(conditions.collect::<Map<_, _>>()))
    };
    Value::Object(results.iter().map(load).collect())
}
