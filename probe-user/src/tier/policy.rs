//! The thresholds in force, and whose: what stands under `[tiers]` in the configuration.

mod written;

use std::fmt;

use glob::Pattern;

use super::Profile;
use crate::snapshot::ServiceId;
use written::Written;

/// From where on traffic is of a class: any of the measures is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Requests per second.
    pub requests: f64,
    /// Bits per second.
    pub bits: f64,
    /// Concurrent users.
    pub users: f64,
}

/// Where classes begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Where normal traffic begins.
    pub normal: Limits,
    /// The bits per second from which on normal traffic is rising.
    pub rising: f64,
    /// Where high traffic begins.
    pub high: Limits,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            normal: Limits { requests: 100.0, bits: 10e6, users: 100.0 },
            rising: 100e6,
            high: Limits { requests: 1_000.0, bits: 1e9, users: 1_000.0 },
        }
    }
}

/// How services are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The part of a threshold by which a load must fall below it to leave the class again.
    pub hysteresis: f64,
    /// What holds for all services that no rule names.
    pub thresholds: Thresholds,
    rules: Vec<Rule>,
}

/// What holds for some services.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    pattern: Pattern,
    profile: Option<Profile>,
    thresholds: Thresholds,
}

impl Default for Policy {
    fn default() -> Self {
        Self { hysteresis: 0.2, thresholds: Thresholds::default(), rules: Vec::new() }
    }
}

/// Why `[tiers]` makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTiers {
    /// Not understood.
    #[error("[tiers]: {0}")]
    Malformed(String),
    /// Not a number to compare with.
    #[error("[tiers]: {0} must be a number above 0")]
    NotPositive(&'static str),
    /// A class would begin above the next one.
    #[error("[tiers]: {measure} must increase from normal to rising to high, but here: {values}")]
    Order {
        /// What is measured.
        measure: &'static str,
        /// Its thresholds.
        values: String,
    },
    /// Never left again, or flapping.
    #[error(
        "[tiers]: hysteresis must be between 0 and 0.9: the fraction by which load must fall below a threshold"
    )]
    Hysteresis,
    /// Not a glob.
    #[error("[tiers]: `{0}` is not a glob: see glob(7)")]
    Glob(String),
}

impl Policy {
    /// The policy that a table `[tiers]` describes; what it leaves out is as it is by default.
    pub fn from_table(table: toml::Table) -> Result<Self, BadTiers> {
        let written = Written::parse(table)?;
        let default = Self::default();
        let hysteresis = written.hysteresis.unwrap_or(default.hysteresis);
        if !(0.0..=0.9).contains(&hysteresis) {
            return Err(BadTiers::Hysteresis);
        }
        let thresholds = written.classes.over(&default.thresholds)?;
        let rules = written.rules.into_iter().map(|rule| rule.over(&thresholds)).collect::<Result<_, _>>()?;
        Ok(Self { hysteresis, thresholds, rules })
    }

    /// What holds for a service: its profile, if it is set, and its thresholds. The first rule that names it decides.
    #[must_use]
    pub fn of(&self, id: &ServiceId) -> (Option<Profile>, &Thresholds) {
        let with_port = format!("{}:{}", id.name(), id.port);
        self.rules
            .iter()
            .find(|rule| rule.pattern.matches(id.name()) || rule.pattern.matches(&with_port))
            .map_or((None, &self.thresholds), |rule| (rule.profile, &rule.thresholds))
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Thresholds { normal, rising, high } = &self.thresholds;
        write!(f, "normal from {normal}; rising from {} Mbit/s; high from {high}", rising / 1e6)?;
        write!(f, "; hysteresis {}; {} rules for single services", self.hysteresis, self.rules.len())
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests/s, {} Mbit/s, {} users", self.requests, self.bits / 1e6, self.users)
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{interface::Transport, service::Role};

    use super::*;
    use crate::identity::Identity;

    fn policy(text: &str) -> Result<Policy, BadTiers> {
        Policy::from_table(text.parse().unwrap())
    }

    fn id(service: &str, port: u16) -> ServiceId {
        ServiceId { identity: Identity::named(service), port, role: Role::Server, transport: Transport::Tcp }
    }

    #[test]
    fn nothing_written_is_the_table_of_the_contract() {
        let policy = policy("").unwrap();
        assert_eq!(policy, Policy::default());
        let (profile, thresholds) = policy.of(&id("nginx", 80));
        assert_eq!(profile, None);
        assert_eq!((thresholds.normal.requests, thresholds.high.requests), (100.0, 1_000.0));
        assert_eq!((thresholds.normal.bits, thresholds.rising, thresholds.high.bits), (10e6, 100e6, 1e9));
    }

    #[test]
    fn the_first_rule_that_names_a_service_decides_over_what_holds_for_all() {
        let policy = policy(
            r#"
            normal.requests_per_second = 50
            [[service]]
            match = "nginx:8*"
            profile = "bulk"
            high.megabits_per_second = 500
            [[service]]
            match = "ngin?"
            normal.requests_per_second = 200
            "#,
        )
        .unwrap();
        let (profile, thresholds) = policy.of(&id("nginx", 80));
        assert_eq!((profile, thresholds.normal.requests), (Some(Profile::Bulk), 50.0));
        assert_eq!((thresholds.high.bits, thresholds.high.requests), (5e8, 1_000.0));
        let (profile, thresholds) = policy.of(&id("nginx", 443));
        assert_eq!((profile, thresholds.normal.requests), (None, 200.0));
        let (profile, thresholds) = policy.of(&id("redis", 80));
        assert_eq!((profile, thresholds.normal.requests), (None, 50.0));
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        let sentence = |text: &str| policy(text).unwrap_err().to_string();
        assert!(sentence("normal.request_per_second = 1").contains("did you mean `requests_per_second`?"));
        assert!(sentence("[[service]]\nmatch = \"a\"\nprofil = \"api\"").contains("`profile`?"));
        assert!(sentence("[[service]]\nmatch = \"a\"\nprofile = \"apis\"").contains("did you mean `api`?"));
        assert!(sentence("normal.requests_per_second = 0").contains("above 0"));
        assert!(sentence("high.requests_per_second = nan").contains("above 0"));
        assert!(sentence("normal.requests_per_second = 5000").contains("must increase"));
        assert!(sentence("rising.megabits_per_second = 2000").contains("must increase"));
        assert!(sentence("hysteresis = 1").contains("between 0 and 0.9"));
        assert!(sentence("[[service]]\nmatch = \"[\"").contains("not a glob"));
        assert!(sentence("[[service]]\nprofile = \"api\"").contains("match"));
    }
}
