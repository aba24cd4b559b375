//! The classes of services' traffic.

use super::{family::Family, names, services::IdentityLabels};
use crate::{report::Report, tier::Tier};

pub(super) fn families(report: &Report) -> [Family; 3] {
    let mut tiers = Family::new(&names::TIER);
    let mut rising = Family::new(&names::TIER_RISING);
    let mut load = Family::new(&names::TIER_LOAD);
    for (id, judgement) in &report.tiers {
        let identity = IdentityLabels::new(id);
        let ([service, port, _], transport) = (identity.labels(), identity.transport());
        for tier in Tier::ALL {
            let holds = f64::from(u8::from(tier == judgement.tier));
            tiers.add_at(identity.place, &[service, port, transport, tier.label()], holds);
        }
        rising.add_at(identity.place, &[service, port, transport], f64::from(u8::from(judgement.rising)));
        load.add_at(identity.place, &[service, port, transport], judgement.of_high);
    }
    [tiers, rising, load]
}
