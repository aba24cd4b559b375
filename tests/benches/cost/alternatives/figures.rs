//! What one run under one condition gives.

use serde_json::{Value, json};

use super::condition::Condition;
use crate::run::Run;

/// Of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) run: Run,
    /// CPU time of what runs beside the load, a second of the load, with what it did after it to catch up.
    pub(crate) own_cpu: Option<f64>,
    /// Its resident memory after that, in KiB.
    pub(crate) resident: Option<u64>,
}

impl Figures {
    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        self.run.to_json([("own_cpu", json!(self.own_cpu)), ("own_resident_kib", json!(self.resident))])
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

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Condition, &[Figures])> {
        Condition::ALL.into_iter().zip(self.conditions.iter().map(Vec::as_slice))
    }
}
