//! What each program takes at full load, as `bpf_stats` adds it up: the probe's and, beside them, those that do nothing.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use probe_tests::{machine, machine::Use};
use serde_json::{Map, Value, json};

use crate::{
    application::{Attached, Condition, Load, Server},
    options::Options,
    paired::Spread,
    table::Table,
};

/// The loads under which it is looked at.
const LOADS: [Load; 4] = [Load::Small, Load::Pipelined, Load::Large, Load::Connections];

/// A program over a load.
struct Ran {
    name: String,
    runs: u64,
    nanoseconds: u64,
}

/// A program over all rounds of a load.
struct Row {
    load: Load,
    condition: Condition,
    program: String,
    /// Nanoseconds a run.
    run: Vec<f64>,
    /// Runs a request.
    runs: Vec<f64>,
    /// Nanoseconds a request.
    request: Vec<f64>,
}

/// Measures it; fewer rounds than single packets have, since sums over a hundred thousand runs are steady.
pub(crate) fn measure(options: &Options) -> Result<(Vec<Table>, Value)> {
    let mut rows = Vec::new();
    for load in LOADS.into_iter().filter(|load| options.admits(load.name())) {
        if options.quick && load != Load::Small {
            continue;
        }
        let _alone = machine::take(Use::Alone)?;
        let server = Server::start(load)?;
        let rate = load.warm_up(&server)?;
        for round in 0..options.rounds().min(if options.quick { 3 } else { 5 }) {
            eprintln!("bench:   {}, `bpf_stats`, round {}", load.name(), round + 1);
            for condition in [Condition::Empty, Condition::Floor, Condition::Probe] {
                let attached = Attached::attach(condition)?;
                let ids = attached.programs()?;
                let _counting =
                    enable_stats(Stats::RunTime).context("cannot have the kernel time programs")?;
                let before = ran(&ids)?;
                let done = load.run(&server, options.load(), rate)?;
                note(&mut rows, (load, condition), &before, &ran(&ids)?, done.requests);
            }
        }
    }
    Ok((vec![table(&rows)], json(&rows)))
}

/// What the programs have run so far.
fn ran(ids: &BTreeSet<u64>) -> Result<Vec<Ran>> {
    let mut all = Vec::new();
    for program in loaded_programs() {
        let program = program?;
        if ids.contains(&u64::from(program.id())) {
            all.push(Ran {
                name: program.name_as_str().unwrap_or("?").to_owned(),
                runs: program.run_count(),
                nanoseconds: u64::try_from(program.run_time().as_nanos())?,
            });
        }
    }
    Ok(all)
}

fn note(
    rows: &mut Vec<Row>,
    (load, condition): (Load, Condition),
    before: &[Ran],
    after: &[Ran],
    requests: u64,
) {
    for program in after {
        let earlier = before.iter().find(|earlier| earlier.name == program.name);
        let [runs, nanoseconds] = earlier.map_or([program.runs, program.nanoseconds], |earlier| {
            [program.runs - earlier.runs, program.nanoseconds - earlier.nanoseconds]
        });
        if runs == 0 {
            continue;
        }
        let known = rows
            .iter()
            .position(|row| row.load == load && row.condition == condition && row.program == program.name);
        let place = known.unwrap_or_else(|| {
            let program = program.name.clone();
            rows.push(Row { load, condition, program, run: vec![], runs: vec![], request: vec![] });
            rows.len() - 1
        });
        rows[place].run.push(nanoseconds as f64 / runs as f64);
        rows[place].runs.push(runs as f64 / requests as f64);
        rows[place].request.push(nanoseconds as f64 / requests as f64);
    }
}

fn table(rows: &[Row]) -> Table {
    let columns = ["load", "programs", "program", "ns a run", "runs a request", "ns a request"];
    let mut table = Table::new(
        "The programs at full load by `bpf_stats` (which itself costs; a run is seen from both ends of a connection)",
        &columns,
    );
    let shown = |figures: &[f64], digits: usize| {
        Spread::of(figures).map_or_else(
            || "-".to_owned(),
            |Spread { median, low, high }| format!("{median:.digits$} ({low:.digits$}-{high:.digits$})"),
        )
    };
    for row in rows {
        table.row(vec![
            row.load.name().into(),
            row.condition.name().into(),
            row.program.clone(),
            shown(&row.run, 0),
            shown(&row.runs, 3),
            shown(&row.request, 0),
        ]);
    }
    table
}

fn json(rows: &[Row]) -> Value {
    let mut loads: Map<String, Value> = Map::new();
    for row in rows {
        let load = loads.entry(row.load.name()).or_insert_with(|| json!({}));
        load[row.condition.name()][&row.program] =
            json!({ "ns_per_run": row.run, "runs_per_request": row.runs, "ns_per_request": row.request });
    }
    Value::Object(loads)
}
