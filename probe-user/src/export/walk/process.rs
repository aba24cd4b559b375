//! What the agent's own process takes: read by the Prometheus library, whose names and words are in our table.

use prometheus::{Registry, process_collector::ProcessCollector, proto::MetricFamily};

use super::super::{
    names::{self, Metric},
    sink::Sink,
};

/// The figures of the agent's process at one moment.
#[derive(Debug)]
pub(crate) struct Process(Vec<MetricFamily>);

impl Process {
    /// Reads them.
    pub(crate) fn read(registry: &Registry) -> Self {
        Self(registry.gather())
    }

    /// A registry to read them from.
    pub(crate) fn registry() -> Result<Registry, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(registry)
    }

    pub(super) fn walk(&self, sink: &mut impl Sink) {
        for metric in names::OF_PROCESS {
            for value in self.values(metric) {
                sink.family(metric).add(&[], value);
            }
        }
    }

    /// When the process started, in seconds since the epoch.
    pub(crate) fn started(&self) -> Option<f64> {
        self.values(&names::PROCESS_START).next()
    }

    fn values(&self, metric: &'static Metric) -> impl Iterator<Item = f64> {
        let families = self.0.iter().filter(|family| family.name() == metric.name);
        families.flat_map(MetricFamily::get_metric).map(|series| match metric.kind {
            names::Kind::Counter => series.get_counter().get_value(),
            _ => series.get_gauge().get_value(),
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;

    use super::*;

    #[test]
    fn all_that_the_library_tells_is_in_the_table() {
        let described = ProcessCollector::for_self();
        let mut told: Vec<_> =
            described.desc().into_iter().map(|one| (one.fq_name.clone(), one.help.clone())).collect();
        told.sort_unstable();
        let table: Vec<_> =
            names::OF_PROCESS.iter().map(|metric| (metric.name.to_owned(), metric.help.to_owned())).collect();
        assert_eq!(told, table);
    }
}
