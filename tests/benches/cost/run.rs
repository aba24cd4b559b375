//! One run of a load: what it got done, whose CPU time it took, and who counted what of it.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::{
    application::Server,
    cpu::{self, Busy},
};

/// What any run gives.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Requests a second.
    pub(crate) throughput: f64,
    /// The server's CPU time a request, in microseconds.
    pub(crate) server_cpu: f64,
    /// The load generator's CPU time a request, in microseconds: what a packet costs on the loopback device is paid by
    /// whoever sends it, also for the socket that receives it.
    pub(crate) client_cpu: f64,
    /// Part of both CPUs that neither server, nor load, nor what is measured beside them used, but somebody did.
    pub(crate) foreign: f64,
    /// Part of both CPUs that the host took away.
    pub(crate) stolen: f64,
    /// Requests that the load generator has an answer to.
    pub(crate) requests: u64,
    /// Requests that the server says it had, if it counts them.
    pub(crate) answered: Option<u64>,
    /// Requests that were told of, if anybody tells.
    pub(crate) seen: Option<u64>,
}

impl Run {
    /// Of so many requests in so many seconds, which took this CPU time. `answered` and `seen` are as in the fields.
    pub(crate) fn of(
        requests: u64,
        seconds: f64,
        took: &Clocks,
        answered: Option<u64>,
        seen: Option<u64>,
    ) -> Self {
        let each = requests as f64;
        let ours = took.server + took.client + took.beside;
        Self {
            throughput: each / seconds,
            server_cpu: took.server / each * 1e6,
            client_cpu: took.client / each * 1e6,
            foreign: ((took.machine.busy - ours) / seconds / 2.0).max(0.0),
            stolen: took.machine.stolen / seconds / 2.0,
            requests,
            answered,
            seen,
        }
    }

    /// Requests that were missed, or invented: beyond what client and server count. Between the two lie those that were
    /// under way when the load generator stopped.
    pub(crate) fn wrong(&self) -> Option<(u64, u64)> {
        let (seen, answered) = (self.seen?, self.answered?);
        Some((self.requests.saturating_sub(seen), seen.saturating_sub(answered)))
    }

    /// For machines, with what else a part measures.
    pub(crate) fn to_json<const N: usize>(&self, more: [(&str, Value); N]) -> Value {
        let common = [
            ("throughput_per_second", json!(self.throughput)),
            ("server_cpu_us", json!(self.server_cpu)),
            ("client_cpu_us", json!(self.client_cpu)),
            ("foreign_cpu", json!(self.foreign)),
            ("stolen_cpu", json!(self.stolen)),
            ("requests", json!(self.requests)),
            ("requests_by_server", json!(self.answered)),
            ("requests_told_of", json!(self.seen)),
        ];
        common
            .into_iter()
            .chain(more)
            .map(|(key, value)| (key.to_owned(), value))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// How many requests a server had between two answers of its own; none if it does not count them.
pub(crate) fn answered(earlier: Option<u64>, now: Option<u64>) -> Option<u64> {
    // Asking it is a request, too.
    Some(now? - earlier? - 1)
}

/// CPU time of all who have a part, in seconds.
pub(crate) struct Clocks {
    pub(crate) server: f64,
    pub(crate) client: f64,
    /// Of what is measured beside server and load.
    pub(crate) beside: f64,
    pub(crate) machine: Busy,
}

impl Clocks {
    /// Reads them, but for one that is at hand.
    pub(crate) fn read(server: &Server, beside: f64) -> Result<Self> {
        Ok(Self {
            server: cpu::of_process(server.id())?.as_secs_f64(),
            // The load generator is the only child that ends in between.
            client: cpu::of_children()?.as_secs_f64(),
            beside,
            machine: cpu::busy()?,
        })
    }

    /// What they went on by.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            server: self.server - before.server,
            client: self.client - before.client,
            beside: self.beside - before.beside,
            machine: Busy {
                busy: self.machine.busy - before.machine.busy,
                stolen: self.machine.stolen - before.machine.stolen,
            },
        }
    }
}
