//! Features: what of that which was wanted is in force.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Tick;
use crate::{feature::FeatureState, report::Report};

/// The features that were wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Features {
    /// Of when this is.
    pub tick: Tick,
    /// A feature each.
    pub features: Vec<Feature>,
}

/// A feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Feature {
    /// Its name.
    pub feature: String,
    /// Whether it is in force.
    pub in_force: bool,
    /// Why it is not; null if it is.
    pub missing: Option<Missing>,
}

/// Why a feature is missing. The three parts are those of the log and of `traffic-probe check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    /// What refused it, in the kernel's words.
    pub why: String,
    /// What is lost without it.
    pub lost: String,
    /// How to get it.
    pub mend: String,
}

impl Features {
    pub(super) fn of(report: &Report, tick: Tick) -> Self {
        Self { tick, features: report.snapshot.features.iter().map(Feature::of).collect() }
    }
}

impl Feature {
    pub(crate) fn of(state: &FeatureState) -> Self {
        let missing = state.missing.as_deref().map(|missing| Missing {
            why: missing.why.clone(),
            lost: missing.lost.to_owned(),
            mend: missing.mend.to_owned(),
        });
        Self { feature: state.feature.name().to_owned(), in_force: missing.is_none(), missing }
    }
}
