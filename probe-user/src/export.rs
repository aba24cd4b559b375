//! What leaves the node: what a [`crate::report::Report`] looks like at `/metrics`.
//!
//! [`walk`] shows every figure once to a [`sink::Sink`], with what the table of [`names`] says of it; the encoders are sinks.

mod edges;
mod encode;
pub mod names;
mod sink;
mod walk;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use prometheus::Registry;

pub use edges::{BadEdges, Edges};
pub use encode::{Format, Gone, Histograms, Options};

use crate::latest::Latest;
use encode::Starts;
use walk::Process;

/// Writes the latest report and the agent's own process metrics.
#[derive(Clone, Debug)]
pub struct Exposition {
    latest: Arc<Latest>,
    process: Registry,
    options: Options,
    /// When the kernel side began to count, and when the machine started.
    counting: Option<SystemTime>,
    boot: Option<u64>,
}

impl Exposition {
    /// An exposition of what `latest` holds at each scrape.
    pub fn new(latest: Arc<Latest>) -> Result<Self, prometheus::Error> {
        let process = Process::registry()?;
        let boot = procfs::boot_time_secs().ok();
        Ok(Self { latest, process, options: Options::default(), counting: None, boot })
    }

    /// The same with other options.
    #[must_use]
    pub fn with(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// The same of counters that were zero then.
    #[must_use]
    pub fn counting_since(self, counting: SystemTime) -> Self {
        Self { counting: Some(counting), ..self }
    }

    /// Writes the metrics in a format, in pieces of some 64 KiB.
    ///
    /// Returns when the figures were taken; none if there are none yet. The error is that of `send`: the client has disconnected.
    pub fn write(
        &self,
        format: Format,
        send: &mut dyn FnMut(Vec<u8>) -> Result<(), Gone>,
    ) -> Result<Option<Instant>, Gone> {
        let report = self.latest.get();
        let process = Process::read(&self.process);
        let starts = Starts {
            counting: self
                .counting
                .and_then(|time| Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())),
            boot: self.boot.map(|seconds| seconds as f64),
            process: process.started(),
        };
        encode::write(format, &self.options, starts, report.as_deref(), &process, send)?;
        Ok(report.map(|report| report.snapshot.taken))
    }
}

#[cfg(test)]
pub(crate) mod tests;
