//! What one run under one condition gives.

use serde_json::{Value, json};

use super::condition::Condition;

/// Of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Requests a second.
    pub(crate) throughput: f64,
    /// The server's CPU time a request, in microseconds.
    pub(crate) server_cpu: f64,
    /// The load generator's CPU time a request, in microseconds.
    pub(crate) client_cpu: f64,
    /// CPU time of what runs beside the load, a second of the load, with what it did after it to catch up.
    pub(crate) own_cpu: Option<f64>,
    /// Its resident memory after that, in KiB.
    pub(crate) resident: Option<u64>,
    /// Part of both CPUs that none of these used, but somebody did.
    pub(crate) foreign: f64,
    /// Part of both CPUs that the host took away.
    pub(crate) stolen: f64,
    /// Requests that the load generator has an answer to.
    pub(crate) requests: u64,
    /// Requests that the server says it had.
    pub(crate) answered: Option<u64>,
    /// Requests that were told of.
    pub(crate) seen: Option<u64>,
}

impl Figures {
    /// Requests that were missed, or invented: beyond what client and server count. Between the two lie those that were
    /// under way when the load generator stopped.
    pub(crate) fn wrong(&self) -> Option<(u64, u64)> {
        let (seen, answered) = (self.seen?, self.answered?);
        Some((self.requests.saturating_sub(seen), seen.saturating_sub(answered)))
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "throughput_per_second": self.throughput,
            "server_cpu_us": self.server_cpu,
            "client_cpu_us": self.client_cpu,
            "own_cpu": self.own_cpu,
            "own_resident_kib": self.resident,
            "foreign_cpu": self.foreign,
            "stolen_cpu": self.stolen,
            "requests": self.requests,
            "requests_by_server": self.answered,
            "requests_told_of": self.seen,
        })
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
