//! What one run of a load gives.

use serde_json::{Value, json};

use super::condition::Condition;

/// Of one run.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Requests a second.
    pub(crate) throughput: f64,
    /// The server's CPU time a request, in microseconds.
    pub(crate) server_cpu: f64,
    /// The load generator's CPU time a request, in microseconds: what a packet costs on the loopback device is paid by
    /// whoever sends it, also for the socket that receives it.
    pub(crate) client_cpu: f64,
    /// Half of the requests took this long or less, in microseconds.
    pub(crate) median: f64,
    /// 99 of 100 took this long or less, in microseconds.
    pub(crate) tail: f64,
    /// Part of both CPUs that neither server, nor load, nor agent used, but somebody did.
    pub(crate) foreign: f64,
    /// Part of both CPUs that the host took away.
    pub(crate) stolen: f64,
    /// Part of a CPU that the agent used.
    pub(crate) agent_cpu: f64,
    /// Requests that the load generator has an answer to.
    pub(crate) requests: u64,
    /// Requests that the server says it had, if it counts them.
    pub(crate) answered: Option<u64>,
    /// Answers that the agent counted, if it measures the protocol.
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
            "p50_us": self.median,
            "p99_us": self.tail,
            "foreign_cpu": self.foreign,
            "stolen_cpu": self.stolen,
            "agent_cpu": self.agent_cpu,
            "requests": self.requests,
            "requests_by_server": self.answered,
            "requests_by_agent": self.seen,
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

    /// One figure of all rounds.
    pub(crate) fn figures(&self, condition: Condition, figure: impl Fn(&Figures) -> f64) -> Vec<f64> {
        self.conditions[condition as usize].iter().map(figure).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Condition, &[Figures])> {
        Condition::ALL.into_iter().zip(self.conditions.iter().map(Vec::as_slice))
    }
}
