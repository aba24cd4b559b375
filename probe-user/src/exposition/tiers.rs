//! The classes of services' traffic.

use super::{family::Family, names};
use crate::{report::Report, tier::Tier};

pub(super) fn families(report: &Report) -> [Family; 3] {
    let mut tiers = Family::new(&names::TIER);
    let mut rising = Family::new(&names::TIER_RISING);
    let mut load = Family::new(&names::TIER_LOAD);
    for (id, judgement) in &report.tiers {
        let port = id.port.to_string();
        for tier in Tier::ALL {
            tiers.add(&[&id.service, &port, tier.label()], f64::from(u8::from(tier == judgement.tier)));
        }
        rising.add(&[&id.service, &port], f64::from(u8::from(judgement.rising)));
        load.add(&[&id.service, &port], judgement.of_high);
    }
    [tiers, rising, load]
}
