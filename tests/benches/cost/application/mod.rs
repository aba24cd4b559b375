//! What the observed servers pay: CPU time a request, throughput and latency, with nothing attached, with programs that
//! do nothing, and with the probe.

mod condition;
mod figures;
mod load;
mod server;
mod show;

use anyhow::{Context, Result};
use probe_tests::{machine, machine::Use};

use self::figures::{Figures, Rounds};
pub(crate) use self::{
    condition::{Attached, Condition},
    load::Load,
    server::Server,
};
use crate::{
    Measured,
    options::Options,
    run::{self, Clocks, Run},
};

/// Measures every load that was asked for.
pub(crate) fn measure(options: &Options) -> Result<Measured> {
    let loads: Vec<Load> =
        Load::all(options.quick).into_iter().filter(|load| options.admits(load.name())).collect();
    let mut results = Vec::new();
    for (done, load) in loads.iter().enumerate() {
        let name = load.name();
        eprintln!("bench: {name} ({} of {})", done + 1, loads.len());
        let rounds = rounds(*load, options).with_context(|| format!("the load `{name}`"))?;
        results.push((*load, rounds));
    }
    Ok(Measured { tables: show::tables(&results), rounds: show::json(&results) })
}

/// All rounds of a load, interleaved.
fn rounds(load: Load, options: &Options) -> Result<Rounds> {
    // Tests that run beside this would be measured, and be disturbed.
    let _alone = machine::take(Use::Alone)?;
    let server = Server::start(load)?;
    // The first run pays for what is made once: caches, connections' memory.
    let rate = load.warm_up(&server)?;
    let mut rounds = Rounds::default();
    for round in 0..options.rounds() {
        for turn in 0..Condition::ALL.len() {
            let condition = Condition::ALL[(round + turn) % Condition::ALL.len()];
            let figures = once(load, &server, condition, options, rate)
                .with_context(|| format!("round {} with {}", round + 1, condition.name()))?;
            eprintln!(
                "bench:   round {}/{}, {:<14} {:>9.0} a second",
                round + 1,
                options.rounds(),
                condition.name(),
                figures.run.throughput
            );
            rounds.of(condition).push(figures);
        }
    }
    Ok(rounds)
}

/// One load under one condition.
fn once(load: Load, server: &Server, condition: Condition, options: &Options, rate: f64) -> Result<Figures> {
    let attached = Attached::attach(condition)?;
    let counted = server.requests()?;
    let beside = || Ok::<_, anyhow::Error>(attached.cpu()?.as_secs_f64());
    let before = Clocks::read(server, beside()?)?;
    let done = load.run(server, options.load(), rate)?;
    let took = Clocks::read(server, beside()?)?.since(&before);
    let answered = run::answered(counted, server.requests()?);
    let seen = attached.requests(server.port(), load)?;
    let seconds = done.time.as_secs_f64();
    Ok(Figures {
        run: Run::of(done.requests, seconds, &took, answered, seen),
        latency: done.latency,
        agent_cpu: took.beside / seconds,
    })
}
