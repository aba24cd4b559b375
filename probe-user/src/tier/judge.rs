//! Judges each service of a report, with what was judged before in mind.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use probe_common::service::Role;

use super::{
    Judgement, Limits, Load, Measure, Policy, Profile, ProfileSource, Thresholds, Tier, Weights,
    profile::Shape,
};
use crate::{
    report::{Rates, ServiceRates},
    snapshot::{Service, ServiceId, Snapshot},
};

/// Traffic must look otherwise for so many windows on end before a service is taken for another kind.
const WINDOWS_TO_CHANGE_PROFILE: u32 = 3;

/// Judges services, tick by tick.
#[derive(Debug)]
pub struct Judge {
    policy: Policy,
    window: Duration,
    states: BTreeMap<ServiceId, State>,
}

/// What was judged of a service last.
#[derive(Debug)]
struct State {
    tier: Tier,
    rising: bool,
    profile: Inferred,
    /// When a connection was opened last, as far as is known.
    opened: Instant,
}

/// What kind of service its traffic looks like.
#[derive(Debug, Default)]
struct Inferred {
    profile: Option<Profile>,
    /// What it looks like instead, and since when.
    other: Option<(Profile, Instant)>,
}

impl Judge {
    /// One that judges after a policy, by the rates of a window of this length.
    #[must_use]
    pub fn new(policy: Policy, window: Duration) -> Self {
        Self { policy, window, states: BTreeMap::new() }
    }

    /// The judgement on each server; callers have none. Those that are not in the snapshot any more are forgotten.
    pub fn judge(&mut self, snapshot: &Snapshot, rates: &Rates) -> BTreeMap<ServiceId, Judgement> {
        self.states.retain(|id, _| rates.services.contains_key(id));
        let servers = rates.services.iter().filter(|(id, _)| id.role == Role::Server);
        servers
            .filter_map(|(id, service)| {
                let totals = snapshot.services.get(id)?;
                Some((id.clone(), self.judge_one(snapshot.taken, rates.span, id, totals, service)))
            })
            .collect()
    }

    fn judge_one(
        &mut self,
        now: Instant,
        span: Duration,
        id: &ServiceId,
        totals: &Service,
        rates: &ServiceRates,
    ) -> Judgement {
        let state = self.states.entry(id.clone()).or_insert_with(|| State::new(now));
        if rates.opened > 0.0 {
            state.opened = now;
        }
        let (set, thresholds) = self.policy.of(id);
        let looks = shape(totals, rates, span + now.saturating_duration_since(state.opened)).profile();
        let inferred = state.profile.follow(looks, now, self.window * WINDOWS_TO_CHANGE_PROFILE);
        let (profile, profile_source) =
            set.map_or((inferred, ProfileSource::Inferred), |profile| (profile, ProfileSource::Set));
        let load = load(totals, rates, filled(span, self.window));
        state.enter(&load, thresholds, profile.weights(), self.policy.hysteresis);
        let (measure, of_high) = greatest(&load, &thresholds.high, profile.weights());
        Judgement { tier: state.tier, rising: state.rising, profile, profile_source, load, measure, of_high }
    }
}

impl State {
    fn new(now: Instant) -> Self {
        Self { tier: Tier::Low, rising: false, profile: Inferred::default(), opened: now }
    }

    /// Goes up at a threshold, and down again only well below it.
    fn enter(&mut self, load: &Load, thresholds: &Thresholds, weights: Weights, hysteresis: f64) {
        let reaches = |part: f64, was_there: bool| part >= if was_there { 1.0 - hysteresis } else { 1.0 };
        let before = self.tier;
        let (_, of_normal) = greatest(load, &thresholds.normal, weights);
        let (_, of_high) = greatest(load, &thresholds.high, weights);
        self.tier = if reaches(of_high, before == Tier::High) {
            Tier::High
        } else if reaches(of_normal, before >= Tier::Normal) {
            Tier::Normal
        } else {
            Tier::Low
        };
        let of_rising = weights.bits * load.bits / thresholds.rising;
        self.rising = self.tier == Tier::Normal && reaches(of_rising, self.rising || before == Tier::High);
    }
}

impl Inferred {
    /// The profile, once the traffic has looked like that for a while; the first look is taken at once.
    fn follow(&mut self, looks: Option<Profile>, now: Instant, patience: Duration) -> Profile {
        let (Some(looks), Some(profile)) = (looks, self.profile) else {
            self.profile = self.profile.or(looks);
            return self.profile.unwrap_or_default();
        };
        match self.other {
            _ if looks == profile => self.other = None,
            Some((other, since)) if other == looks => {
                if now.saturating_duration_since(since) >= patience {
                    (self.profile, self.other) = (Some(looks), None);
                }
            }
            _ => self.other = Some((looks, now)),
        }
        self.profile.unwrap_or_default()
    }
}

/// How much of the window has passed yet. A rate over its first moments would take a burst for a load: what is not
/// known of the window counts as idle.
fn filled(span: Duration, window: Duration) -> f64 {
    if window.is_zero() { 1.0 } else { span.div_duration_f64(window).min(1.0) }
}

fn load(totals: &Service, rates: &ServiceRates, filled: f64) -> Load {
    Load {
        requests: requests(rates) * filled,
        bits: rates.received.max(rates.sent) * 8.0 * filled,
        users: totals.users as f64,
    }
}

fn requests(rates: &ServiceRates) -> f64 {
    // Not `sum()`, which of nothing is -0.
    rates.requests.values().fold(0.0, |sum, requests| sum + requests.requests)
}

/// `quiet` is how long no connection has been opened, at least: so long those that are open have lived.
fn shape(totals: &Service, rates: &ServiceRates, quiet: Duration) -> Shape {
    let open = totals.connections.open as f64;
    // Little's law: how many there are is how many come in a second, times how long they stay.
    let connection = if rates.opened > 0.0 { open / rates.opened } else { quiet.as_secs_f64() };
    Shape { bytes: rates.received + rates.sent, requests: requests(rates), open, connection }
}

/// The measure that, weighed, is the greatest part of its limit, and that part.
fn greatest(load: &Load, limits: &Limits, weights: Weights) -> (Measure, f64) {
    let parts = [
        (Measure::Requests, weights.requests * load.requests / limits.requests),
        (Measure::Bandwidth, weights.bits * load.bits / limits.bits),
        (Measure::Users, weights.users * load.users / limits.users),
    ];
    parts.into_iter().fold(parts[0], |greatest, part| if part.1 > greatest.1 { part } else { greatest })
}

#[cfg(test)]
mod tests;
