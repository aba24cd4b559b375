//! What a user would take instead of the probe, under the same load in the same run: what the server pays for it, what it
//! takes itself, and how many requests it misses.

mod capture;
mod condition;
mod exporter;
mod figures;
mod log;
mod probe;
mod proxy;
mod script;
mod show;
mod waiting;

use anyhow::{Context, Result};
use probe_tests::{machine, machine::Use};

use self::{
    condition::{Condition, Started},
    figures::{Figures, Rounds},
};
use crate::{
    Measured,
    agent::resident,
    application::{Load, Server},
    cpu,
    options::Options,
    run::{self, Clocks, Run},
};

/// The loads: replies so small that observing them is most of the work, and so many at a time that whoever takes a packet
/// or a system call for a request is wrong.
const LOADS: [Load; 2] = [Load::Small, Load::Pipelined];

/// Measures every load that was asked for.
pub(crate) fn measure(options: &Options) -> Result<Measured> {
    let mut results = Vec::new();
    for load in LOADS.into_iter().filter(|load| options.admits(load.name())) {
        eprintln!("bench: side by side, {}", load.name());
        let rounds = rounds(load, options).with_context(|| format!("the load `{}`", load.name()))?;
        results.push((load, rounds));
    }
    Ok(Measured { tables: show::tables(&results), rounds: show::json(&results) })
}

/// All rounds of a load, interleaved.
fn rounds(load: Load, options: &Options) -> Result<Rounds> {
    // Tests that run beside this would be measured, and be disturbed.
    let _alone = machine::take(Use::Alone)?;
    let server = Server::start(load)?;
    load.warm_up(&server)?;
    let mut rounds = Rounds::default();
    for round in 0..options.rounds() {
        for turn in 0..Condition::ALL.len() {
            let condition = Condition::ALL[(round + turn) % Condition::ALL.len()];
            let figures = once(load, &server, condition, options)
                .with_context(|| format!("round {} with {}", round + 1, condition.name()))?;
            eprintln!(
                "bench:   round {}/{}, {:<27} {:>9.0} a second{}",
                round + 1,
                options.rounds(),
                condition.name(),
                figures.run.throughput,
                figures.run.wrong().map_or_else(String::new, |(missed, _)| format!(", {missed} missed")),
            );
            rounds.of(condition).push(figures);
        }
    }
    Ok(rounds)
}

/// One load under one condition.
fn once(load: Load, shared: &Server, condition: Condition, options: &Options) -> Result<Figures> {
    // Asked before, since that is a request, too, and a script would see it.
    let earlier = shared.requests()?;
    let Started { mut running, server: own, port } = condition.start(shared, load)?;
    let (server, earlier) = match &own {
        Some(own) => (own, own.requests()?),
        None => (shared, earlier),
    };
    let process = running.process();
    let before = Clocks::read(server, own_cpu(process)?)?;
    let done = load.run_by(server, port.unwrap_or(server.port()), options.load())?;
    let took = Clocks::read(server, own_cpu(process)?)?.since(&before);
    running.catch_up(done.requests)?;
    // What it did late is a part of what it takes.
    let own_cpu = own_cpu(process)? - before.beside;
    let resident = process.map(resident).transpose()?;
    let seen = running.requests()?;
    drop(running);
    let answered = run::answered(earlier, server.requests()?);
    let seconds = done.time.as_secs_f64();
    Ok(Figures {
        run: Run::of(done.requests, seconds, &took, answered, seen),
        own_cpu: process.map(|_| own_cpu / seconds),
        resident,
    })
}

fn own_cpu(process: Option<u32>) -> Result<f64> {
    Ok(process.map(cpu::of_process).transpose()?.unwrap_or_default().as_secs_f64())
}
