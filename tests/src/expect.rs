//! What counters are to do while a test does something: rise by an exact figure, and stay there.

use std::fmt::Write;

use anyhow::{Result, bail, ensure};

use crate::{
    agent::Agent,
    metrics::{Scrape, Series},
    poll,
};

/// Collections that must not change a figure once it is right: what comes late would be counted twice.
const MORE_COLLECTIONS: u32 = 2;

/// The figures of an agent at a moment.
#[derive(Debug)]
pub struct Mark<'a> {
    agent: &'a Agent<'a>,
    before: Scrape,
}

impl<'a> Mark<'a> {
    pub(crate) fn new(agent: &'a Agent<'_>, before: Scrape) -> Self {
        Self { agent, before }
    }

    /// How much the series have risen in a later scrape.
    #[must_use]
    pub fn rise(&self, after: &Scrape, series: &Series) -> f64 {
        after.sum(series) - self.before.sum(series)
    }

    /// Waits until each of the series has risen that far, and makes sure that it has by no more, now and later.
    pub fn rises_by_exactly(&self, expected: &[(Series, u64)]) -> Result<Scrape> {
        let reached =
            |scrape: &Scrape| expected.iter().all(|(series, rise)| self.rise(scrape, series) >= *rise as f64);
        let arrived = poll::until("the counters to arrive", || {
            let scrape = self.agent.scrape()?;
            Ok(reached(&scrape).then_some(()))
        });
        // Where they do not arrive, how far they came says more than that they did not.
        let mut scrape = self.agent.scrape()?;
        for _ in 0..MORE_COLLECTIONS {
            self.compare(&scrape, expected)?;
            scrape = self.agent.collected()?;
        }
        self.compare(&scrape, expected)?;
        arrived.map(|()| scrape)
    }

    #[expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]
    fn compare(&self, scrape: &Scrape, expected: &[(Series, u64)]) -> Result<()> {
        let mut differences = String::new();
        for (series, rise) in expected {
            let risen = self.rise(scrape, series);
            if risen != *rise as f64 {
                writeln!(differences, "  {series} rose by {risen}, not by {rise}")?;
            }
        }
        if differences.is_empty() {
            return Ok(());
        }
        bail!(
            "wrong counts:\n{differences}{}\nthe agent's log:\n{}",
            unmeasured(&self.before, scrape),
            self.agent.log()?
        )
    }
}

/// What escaped measurement in between, by the agent's own account.
fn unmeasured(before: &Scrape, after: &Scrape) -> String {
    let all = Series::named("traffic_probe_unmeasured_total");
    let mut text = String::new();
    for reason in after.values(&all, "reason") {
        let one = all.clone().with("reason", reason);
        let rise = after.sum(&one) - before.sum(&one);
        if rise != 0.0 {
            let _ = writeln!(text, "  (on the whole machine, unmeasured for `{reason}`: {rise})");
        }
    }
    text
}

/// Waits until gauges have these values, and makes sure that they keep them.
pub fn gauges_are(agent: &Agent<'_>, expected: &[(Series, u64)]) -> Result<Scrape> {
    let as_expected = |scrape: &Scrape| -> bool {
        let mut pairs = expected.iter();
        pairs.all(|(series, value)| (scrape.sum(series) - *value as f64).abs() < f64::EPSILON)
    };
    let arrived = poll::until("the gauges to arrive", || {
        let scrape = agent.scrape()?;
        Ok(as_expected(&scrape).then_some(()))
    });
    for _ in 0..=MORE_COLLECTIONS {
        let scrape = agent.collected()?;
        for (series, value) in expected {
            let now = scrape.sum(series);
            ensure!(as_expected(&scrape), "{series} is {now}, expected {value}");
        }
    }
    arrived?;
    agent.collected()
}

/// Fails unless a figure is within a part of the truth.
pub fn within(part: f64, what: &str, measured: f64, truth: f64) -> Result<()> {
    let error = measured / truth - 1.0;
    println!("{what}: measured {measured}, truth {truth}, off by {:.3} %", error * 100.0);
    ensure!(
        error.abs() <= part,
        "{what}: measured {measured}, truth {truth}: off by {:.2} %, allowed are {:.2} %",
        error * 100.0,
        part * 100.0
    );
    Ok(())
}
