//! What one run of a load gives.

use serde_json::{Value, json};

use super::{condition::Condition, load::Latency};
use crate::run::Run;

/// Of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) run: Run,
    /// How long requests took, if the load generator could tell.
    pub(crate) latency: Option<Latency>,
    /// Part of a CPU that the agent used.
    pub(crate) agent_cpu: f64,
}

impl Figures {
    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        self.run.to_json([
            ("p50_us", json!(self.median())),
            ("p99_us", json!(self.tail())),
            ("agent_cpu", json!(self.agent_cpu)),
        ])
    }

    /// Half of the requests took this long or less, in microseconds.
    pub(crate) fn median(&self) -> Option<f64> {
        Some(self.latency?.median.as_secs_f64() * 1e6)
    }

    /// 99 of 100 took this long or less, in microseconds.
    pub(crate) fn tail(&self) -> Option<f64> {
        Some(self.latency?.tail.as_secs_f64() * 1e6)
    }
}

/// Of all rounds of a load, by condition.
#[derive(Default)]
pub(crate) struct Rounds {
    conditions: [Vec<Figures>; Condition::ALL.len()],
}

impl Rounds {
    /// Those under a condition, in the order of the rounds.
    pub(crate) fn of(&mut self, condition: Condition) -> &mut Vec<Figures> {
        &mut self.conditions[condition as usize]
    }

    /// One figure of all rounds; nothing if a round has none, since rounds are compared one by one.
    pub(crate) fn figures(&self, condition: Condition, figure: impl Fn(&Figures) -> Option<f64>) -> Vec<f64> {
        self.conditions[condition as usize].iter().map(figure).collect::<Option<_>>().unwrap_or_default()
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Condition, &[Figures])> {
        Condition::ALL.into_iter().zip(self.conditions.iter().map(Vec::as_slice))
    }
}
