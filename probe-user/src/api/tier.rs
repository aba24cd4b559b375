//! Tiers, and what they call for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Kubernetes, Tick, Transport};
use crate::{
    report::Report,
    snapshot::ServiceId,
    tier::{self, Judgement, Measure, Profile, ProfileSource},
};

/// The tiers of all servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tiers {
    /// Of when they are.
    pub tick: Tick,
    /// A service each; none until there are rates.
    pub tiers: Vec<ServiceTier>,
}

/// A service with its tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceTier {
    /// Name of the unit, container or process.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// What its sockets speak.
    pub transport: Transport,
    /// Where it runs in a Kubernetes cluster; null where there is none.
    pub kubernetes: Option<Kubernetes>,
    /// What was judged.
    pub tier: Tier,
}

/// What was judged of a service's traffic over the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tier {
    /// Its class.
    pub class: tier::Tier,
    /// Whether it is normal, with a bandwidth that is approaching high.
    pub rising: bool,
    /// The load as a part of what makes traffic high, weighed, by the measure that comes nearest: from 1 on it is high.
    pub load_ratio: f64,
    /// That measure.
    pub measure: Measure,
    /// What kind of service it is, which weighs the measures.
    pub profile: Profile,
    /// Who said so.
    pub profile_source: ProfileSource,
    /// What it was judged by.
    pub load: Load,
    /// What the tier calls for: a sentence to the operator.
    pub calls_for: String,
}

/// What a tier was judged by, where time that is missing to a whole window counts as idle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Load {
    /// Requests per second, in all protocols.
    pub requests_per_second: f64,
    /// Payload per second, in the direction that carries more.
    pub bandwidth_bytes_per_second: f64,
    /// Distinct clients.
    pub concurrent_users: f64,
}

impl Tiers {
    pub(super) fn of(report: &Report, tick: Tick, asked: impl Fn(&ServiceId) -> bool) -> Self {
        let tiers = report
            .tiers
            .iter()
            .filter(|(id, _)| asked(id))
            .map(|(id, judgement)| ServiceTier {
                service: id.name().to_owned(),
                port: id.port,
                transport: id.transport.into(),
                kubernetes: Kubernetes::of(id),
                tier: judgement.into(),
            })
            .collect();
        Self { tick, tiers }
    }
}

impl From<&Judgement> for Tier {
    fn from(judgement: &Judgement) -> Self {
        let load = &judgement.load;
        Self {
            class: judgement.tier,
            rising: judgement.rising,
            load_ratio: judgement.of_high,
            measure: judgement.measure,
            profile: judgement.profile,
            profile_source: judgement.profile_source,
            load: Load {
                requests_per_second: load.requests,
                bandwidth_bytes_per_second: load.bits / 8.0,
                concurrent_users: load.users,
            },
            calls_for: judgement.calls_for().to_owned(),
        }
    }
}
