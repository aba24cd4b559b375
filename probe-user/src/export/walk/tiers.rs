//! The classes of services' traffic.

use super::{
    super::{names, sink::Sink},
    identity_labels::IdentityLabels,
};
use crate::{report::Report, tier::Tier};

pub(super) fn write(sink: &mut impl Sink, report: &Report) {
    let judged: Vec<_> =
        report.tiers.iter().map(|(id, judgement)| (IdentityLabels::new(id), judgement)).collect();
    let mut tiers = sink.family(&names::TIER);
    for (identity, judgement) in &judged {
        for tier in Tier::ALL {
            let holds = f64::from(u8::from(tier == judgement.tier));
            let labels = [identity.service, &identity.port, identity.transport(), tier.label()];
            tiers.add_at(identity.place, &labels, holds);
        }
    }
    let mut rising = sink.family(&names::TIER_RISING);
    for (identity, judgement) in &judged {
        let labels = [identity.service, &identity.port, identity.transport()];
        rising.add_at(identity.place, &labels, f64::from(u8::from(judgement.rising)));
    }
    let mut load = sink.family(&names::TIER_LOAD);
    for (identity, judgement) in &judged {
        let labels = [identity.service, &identity.port, identity.transport()];
        load.add_at(identity.place, &labels, judgement.of_high);
    }
}
