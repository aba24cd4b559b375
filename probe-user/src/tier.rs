//! Which class a service's traffic is of: low, normal or high.
//!
//! Judged by requests per second, data per second and concurrent users together, each measured against thresholds
//! and weighed by what kind of service it is ([`Profile`]). Pure: a judgement follows from a report, from the policy,
//! and from the judgement before, which keeps a load that hovers at a threshold from flapping.

mod judge;
mod policy;
mod profile;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use judge::Judge;
pub use policy::{BadTiers, Limits, Policy, Thresholds};
pub use profile::{Profile, Weights};

/// The class of a service's traffic.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[schema(as = TierClass)]
pub enum Tier {
    /// Below all thresholds of normal traffic.
    #[default]
    Low,
    /// At or above one of those, and below all of high traffic.
    Normal,
    /// At or above one of the thresholds of high traffic.
    High,
}

impl Tier {
    /// All of them, from the lowest on.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The value of the label `tier`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// What a tier is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Requests per second.
    Requests,
    /// Data per second.
    Bandwidth,
    /// Concurrent users.
    Users,
}

/// Who said of which profile a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProfileSource {
    /// The operator.
    Set,
    /// Its traffic.
    Inferred,
}

/// What a service's tier is judged by, over the window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests per second, in all protocols.
    pub requests: f64,
    /// Payload in bits per second, in the direction that carries more: a link has its capacity in each.
    pub bits: f64,
    /// Concurrent users.
    pub users: f64,
}

/// What was judged of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Its class.
    pub tier: Tier,
    /// Whether it is normal, with a bandwidth that is approaching high.
    pub rising: bool,
    /// What kind of service it is.
    pub profile: Profile,
    /// Who said so.
    pub profile_source: ProfileSource,
    /// What it was judged by.
    pub load: Load,
    /// The measure that comes nearest to its threshold of high traffic.
    pub measure: Measure,
    /// That measure, weighed, as a part of its threshold: 1 is where high traffic begins.
    pub of_high: f64,
}

impl Judgement {
    /// What the tier calls for: a sentence to the operator.
    #[must_use]
    pub const fn calls_for(&self) -> &'static str {
        match (self.tier, self.rising, self.measure) {
            (Tier::Low, ..) => "Nothing: one small instance carries it, and it can share a node with others.",
            (Tier::Normal, true, _) => {
                "Prepare: its bandwidth is approaching high; compare it with the links' capacity, and move large \
                 content to a cache or a content delivery network."
            }
            (Tier::Normal, false, _) => {
                "Watch: alert on P95 and errors, cache what repeats, and have a second instance ready."
            }
            (Tier::High, _, Measure::Requests) => {
                "Scale out: more instances behind a balancer, caches before them, and a limit on each client's rate."
            }
            (Tier::High, _, Measure::Bandwidth) => {
                "Offload: compress, move content to a content delivery network, and see that links and interfaces \
                 have room."
            }
            (Tier::High, _, Measure::Users) => {
                "Spread: connections over more instances, with limits of descriptors and memory that fit their number."
            }
        }
    }
}
