//! The tables of the part: one for each load, a row for each condition.

use serde_json::{Map, Value};

use super::{
    condition::Condition,
    figures::{Figures, Rounds},
};
use crate::{
    application::Load,
    paired::{Comparison, Spread},
    table::Table,
};

const COLUMNS: [&str; 10] = [
    "with",
    "requests a second",
    "over nothing",
    "server's CPU a request, µs",
    "over nothing",
    "its own CPU",
    "its RSS, MiB",
    "missed",
    "invented",
    "others' CPU",
];

/// A table for each load.
pub(crate) fn tables(results: &[(Load, Rounds)]) -> Vec<Table> {
    results.iter().map(|(load, rounds)| table(*load, rounds)).collect()
}

fn table(load: Load, rounds: &Rounds) -> Table {
    let mut table = Table::new(format!("Side by side: {}", load.name()), &COLUMNS);
    let nothing: Vec<&Figures> = rounds
        .all()
        .filter(|(condition, _)| *condition == Condition::Nothing)
        .flat_map(|(_, runs)| runs)
        .collect();
    for (condition, runs) in rounds.all() {
        let against = |figure: fn(&Figures) -> f64| {
            let figures: Vec<f64> = runs.iter().map(figure).collect();
            let others: Vec<f64> = nothing.iter().map(|figures| figure(figures)).collect();
            let compared = Comparison::of(&figures, &others).filter(|_| condition != Condition::Nothing);
            compared.map_or_else(dash, |compared| compared.to_string())
        };
        table.row(vec![
            condition.name().to_owned(),
            median(runs, 0, |figures| Some(figures.run.throughput)),
            against(|figures| figures.run.throughput),
            median(runs, 2, |figures| Some(figures.run.server_cpu)),
            against(|figures| figures.run.server_cpu),
            percent(runs, |figures| figures.own_cpu),
            median(runs, 1, |figures| Some(figures.resident? as f64 / 1024.0)),
            share(runs, |wrong| wrong.0),
            share(runs, |wrong| wrong.1),
            percent(runs, |figures| Some(figures.run.foreign)),
        ]);
    }
    table
}

fn dash() -> String {
    "-".to_owned()
}

fn median(runs: &[Figures], digits: usize, figure: impl Fn(&Figures) -> Option<f64>) -> String {
    let figures: Vec<f64> = runs.iter().filter_map(figure).collect();
    Spread::of(&figures).map_or_else(dash, |Spread { median, low, high }| {
        format!("{median:.digits$} ({low:.digits$}-{high:.digits$})")
    })
}

fn percent(runs: &[Figures], figure: impl Fn(&Figures) -> Option<f64>) -> String {
    let figures: Vec<f64> = runs.iter().filter_map(figure).collect();
    Spread::of(&figures).map_or_else(dash, |spread| format!("{:.1} %", spread.median * 100.0))
}

/// Of all requests of all rounds: nothing is rounded down to none.
fn share(runs: &[Figures], which: impl Fn((u64, u64)) -> u64) -> String {
    let wrong: Option<Vec<u64>> = runs.iter().map(|figures| figures.run.wrong().map(&which)).collect();
    let Some(wrong) = wrong else { return dash() };
    let (wrong, requests): (u64, u64) =
        (wrong.iter().sum(), runs.iter().map(|figures| figures.run.requests).sum());
    if wrong == 0 {
        return "0".to_owned();
    }
    format!("{wrong} of {requests} ({:.2} %)", wrong as f64 / requests as f64 * 100.0)
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
