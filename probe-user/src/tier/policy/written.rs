//! `[tiers]` as it is written: all of it may be left out.

use glob::Pattern;
use serde::Deserialize;

use super::{BadTiers, Limits, Profile, Rule, Thresholds};
use crate::config;

/// The thresholds' unit.
const MEGABIT: f64 = 1e6;

/// The whole table. Its parts are told apart here, since serde cannot refuse unknown keys of a table that is put
/// together of several.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) hysteresis: Option<f64>,
    pub(super) classes: Classes,
    pub(super) rules: Vec<WrittenRule>,
}

/// The thresholds of all classes.
#[derive(Debug, Default)]
pub(super) struct Classes {
    normal: WrittenLimits,
    rising: WrittenRising,
    high: WrittenLimits,
}

/// What holds for some services.
#[derive(Debug)]
pub(super) struct WrittenRule {
    pattern: String,
    profile: Option<Profile>,
    classes: Classes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLimits {
    requests_per_second: Option<f64>,
    megabits_per_second: Option<f64>,
    users: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenRising {
    megabits_per_second: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct General {
    hysteresis: Option<f64>,
    #[serde(default)]
    normal: WrittenLimits,
    #[serde(default)]
    rising: WrittenRising,
    #[serde(default)]
    high: WrittenLimits,
    #[serde(default)]
    service: Vec<Special>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Special {
    #[serde(rename = "match")]
    pattern: String,
    profile: Option<Profile>,
    #[serde(default)]
    normal: WrittenLimits,
    #[serde(default)]
    rising: WrittenRising,
    #[serde(default)]
    high: WrittenLimits,
}

impl Written {
    pub(super) fn parse(table: toml::Table) -> Result<Self, BadTiers> {
        let general: General = table
            .try_into()
            .map_err(|error: toml::de::Error| BadTiers::Malformed(config::with_nearest(error.message())))?;
        let General { hysteresis, normal, rising, high, service } = general;
        let rules = service.into_iter().map(|Special { pattern, profile, normal, rising, high }| {
            WrittenRule { pattern, profile, classes: Classes { normal, rising, high } }
        });
        Ok(Self { hysteresis, rules: rules.collect(), classes: Classes { normal, rising, high } })
    }
}

impl WrittenRule {
    /// The rule, where what it leaves out is as it is for all.
    pub(super) fn over(self, general: &Thresholds) -> Result<Rule, BadTiers> {
        let pattern = Pattern::new(&self.pattern).map_err(|_| BadTiers::Glob(self.pattern))?;
        Ok(Rule { pattern, profile: self.profile, thresholds: self.classes.over(general)? })
    }
}

impl Classes {
    /// The thresholds, where what is left out is as it was before.
    pub(super) fn over(&self, before: &Thresholds) -> Result<Thresholds, BadTiers> {
        let rising = self.rising.megabits_per_second.map_or(before.rising, |megabits| megabits * MEGABIT);
        let (normal, high) = (self.normal.over(&before.normal), self.high.over(&before.high));
        ordered("requests_per_second", &[normal.requests, high.requests], 1.0)?;
        ordered("megabits_per_second", &[normal.bits, rising, high.bits], MEGABIT)?;
        ordered("users", &[normal.users, high.users], 1.0)?;
        Ok(Thresholds { normal, rising, high })
    }
}

impl WrittenLimits {
    fn over(&self, before: &Limits) -> Limits {
        Limits {
            requests: self.requests_per_second.unwrap_or(before.requests),
            bits: self.megabits_per_second.map_or(before.bits, |megabits| megabits * MEGABIT),
            users: self.users.unwrap_or(before.users),
        }
    }
}

/// Fails unless thresholds are positive and in their order.
fn ordered(measure: &'static str, thresholds: &[f64], unit: f64) -> Result<(), BadTiers> {
    if !thresholds.iter().all(|threshold| threshold.is_finite() && *threshold > 0.0) {
        return Err(BadTiers::NotPositive(measure));
    }
    if thresholds.is_sorted() {
        return Ok(());
    }
    let values: Vec<_> = thresholds.iter().map(|threshold| (threshold / unit).to_string()).collect();
    Err(BadTiers::Order { measure, values: values.join(", ") })
}
