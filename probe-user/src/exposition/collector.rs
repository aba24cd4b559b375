//! The collector that the registry asks at each scrape.

use std::{collections::HashMap, sync::Arc};

use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{agent, interfaces, names, resources, services, tiers};
use crate::latest::Latest;

/// Renders the latest report.
pub(super) struct ReportCollector {
    latest: Arc<Latest>,
    descriptions: Vec<Desc>,
}

impl ReportCollector {
    pub(super) fn new(latest: Arc<Latest>) -> Result<Self, prometheus::Error> {
        let describe = |metric: &names::Metric| {
            let labels = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, HashMap::new())
        };
        let descriptions = names::ALL.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { latest, descriptions })
    }
}

impl Collector for ReportCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = vec![agent::build_info()];
        if let Some(report) = self.latest.get() {
            families.extend(agent::families(&report.snapshot));
            families.extend(services::totals(&report.snapshot));
            families.extend(interfaces::totals(&report.snapshot));
            families.extend(resources::families(&report.resources));
            if let Some(rates) = &report.rates {
                families.extend(services::rates(rates));
                families.extend(interfaces::rates(&report.snapshot, rates));
                families.extend(tiers::families(&report));
            }
        }
        families.into_iter().map(MetricFamily::from).collect()
    }
}
