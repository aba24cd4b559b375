//! What the programs in the kernel take: a packet of each kind by `BPF_PROG_TEST_RUN`, and whatever comes at full load by
//! `bpf_stats`.

pub(crate) mod engine;
mod full_load;
mod packet;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use self::{
    engine::{Engine, RECEIVE, TRANSMIT, Took},
    packet::{Kind, Packet},
};
use crate::{
    Measured,
    options::Options,
    paired::Spread,
    stand_ins::{self, StandIns},
    table::Table,
};

/// Measures both.
pub(crate) fn measure(options: &Options) -> Result<Measured> {
    let (single, mut figures) = single(options)?;
    let (at_load, at_load_figures) = full_load::measure(options)?;
    figures.insert("full_load".into(), at_load_figures);
    let tables = [single, at_load].concat();
    Ok(Measured { tables, rounds: Value::Object(figures) })
}

/// What each kind of packet takes, in nanoseconds a run, one figure a round.
struct Single {
    empty: Vec<f64>,
    /// Programs that only call what the probe's call, over a request and over its response.
    calls: [Vec<f64>; 2],
    kinds: Vec<(Kind, Vec<Took>)>,
}

fn single(options: &Options) -> Result<(Vec<Table>, Map<String, Value>)> {
    let repeats = if options.quick { 100_000 } else { 500_000 };
    let mut empty = StandIns::load(stand_ins::Kind::Empty)?;
    let mut calls = StandIns::load(stand_ins::Kind::Floor)?;
    let mut engine = Engine::load()?;
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| options.admits(kind.name())).collect();
    let kinds = kinds.into_iter().map(|kind| (kind, Vec::new())).collect();
    let mut single = Single { empty: Vec::new(), calls: Default::default(), kinds };
    let [request, response] = [Kind::RequestHead, Kind::ResponseHead].map(Kind::frame);
    for round in 0..options.rounds() {
        eprintln!("bench:   single packets, round {}/{}", round + 1, options.rounds());
        single.empty.push(empty.run("no_ingress", &Packet::none().frame(), repeats)?);
        // The first makes the connection's state, and the second its histograms.
        for (figures, (program, frame)) in
            single.calls.iter_mut().zip([(RECEIVE, &request), (TRANSMIT, &response)])
        {
            figures.push(calls.run(program, frame, repeats)?);
        }
        for (kind, figures) in &mut single.kinds {
            let took = engine.run(*kind, repeats).with_context(|| format!("the packet `{}`", kind.name()))?;
            figures.push(took);
        }
    }
    Ok((vec![single.table(), single.requests()], single.json()))
}

impl Single {
    fn table(&self) -> Table {
        let columns = ["packet", "a run", "of it, putting back what it changes", "over the empty program"];
        let mut table = Table::new("A packet by `BPF_PROG_TEST_RUN`, ns", &columns);
        table.row(vec!["any, empty program".into(), shown(&self.empty), "-".into(), "-".into()]);
        for (name, figures) in ["request", "response"].iter().zip(&self.calls) {
            let over: Vec<f64> = figures.iter().zip(&self.empty).map(|(run, empty)| run - empty).collect();
            table.row(vec![format!("{name}, calls alone"), shown(figures), "-".into(), shown(&over)]);
        }
        for (kind, took) in &self.kinds {
            let run: Vec<f64> = took.iter().map(|took| took.run).collect();
            let before: Vec<f64> =
                took.iter().zip(&self.empty).map(|(took, empty)| took.before - empty).collect();
            table.row(vec![kind.name().into(), shown(&run), shown(&before), shown(&over_empty(took))]);
        }
        table
    }

    /// Whole requests, over the empty programs on both hooks.
    fn requests(&self) -> Table {
        let mut table = Table::new(
            "A request by `BPF_PROG_TEST_RUN`, request and response together, over the empty programs, ns",
            &["request", "a request"],
        );
        let calls: Vec<f64> = self.calls[0]
            .iter()
            .zip(&self.calls[1])
            .zip(&self.empty)
            .map(|((request, response), empty)| request + response - 2.0 * empty)
            .collect();
        table.row(vec!["head of 30 B, head of 220 B: calls alone".into(), shown(&calls)]);
        for (name, kinds, requests) in Kind::REQUESTS {
            let mut sum = vec![0.0; self.empty.len()];
            let mut whole = true;
            for kind in *kinds {
                let figures = self.kinds.iter().find(|(measured, _)| measured == kind);
                whole &= figures.is_some();
                let figures = figures.map(|(_, took)| over_empty(took)).unwrap_or_default();
                sum.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure / *requests as f64);
            }
            if whole {
                table.row(vec![(*name).into(), shown(&sum)]);
            }
        }
        table
    }

    fn json(&self) -> Map<String, Value> {
        let mut kinds = Map::new();
        for (kind, took) in &self.kinds {
            let run: Vec<f64> = took.iter().map(|took| took.run).collect();
            let before: Vec<f64> = took.iter().map(|took| took.before).collect();
            kinds.insert(kind.name().to_owned(), json!({ "run_ns": run, "without_packet_ns": before }));
        }
        Map::from_iter([
            ("empty_ns".to_owned(), json!(self.empty)),
            ("calls_ns".to_owned(), json!(self.calls)),
            ("packets".to_owned(), Value::Object(kinds)),
        ])
    }
}

/// What a kind of packet takes over the empty program, round by round: a run less the same without a packet, which only puts
/// back what the run changes, as no packet at a hook does.
fn over_empty(took: &[Took]) -> Vec<f64> {
    took.iter().map(|took| took.run - took.before).collect()
}

fn shown(figures: &[f64]) -> String {
    let spread = Spread::of(figures);
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { median, low, high }| format!("{median:.0} ({low:.0}-{high:.0})"),
    )
}
