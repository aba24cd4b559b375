//! Which features are in force: all that were wanted, less those that the kernel, or whoever guards it, refused when they were tried.

use std::{collections::BTreeMap, sync::Arc};

use super::object::{APPLICATION_READS, Cgroups};
use crate::{
    attribution::cgroup1_is_mounted,
    feature::{Feature, FeatureState, Missing},
    settings::{Capacities, Settings, TcHook},
};

/// Features that are decided when the object is loaded: by which programs are there, and by constants that they are loaded
/// with. What an earlier agent pinned can be taken up only by one that has the same of these.
const LOADED: [Feature; 10] = [
    Feature::Requests,
    Feature::States,
    Feature::KernelTypes,
    Feature::Reads,
    Feature::Oldest,
    Feature::Datagrams,
    Feature::Expiry,
    Feature::Routes,
    Feature::Peers,
    Feature::Interfaces,
];

/// Those whose programs are at hooks, or have links, from the start until the end.
const LINKED: [Feature; 3] = [Feature::Oldest, Feature::Datagrams, Feature::Expiry];

/// What was wanted, and what of it is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Which hierarchies of cgroups there are.
    pub cgroups: Cgroups,
    wanted: u32,
    missing: BTreeMap<Feature, Arc<Missing>>,
    /// Whether those that are missing have been told: what goes missing later is told at once.
    told: bool,
}

impl Features {
    /// All that concern the kernel's programs, on this host; nothing has been tried yet.
    #[must_use]
    pub fn of_this_host() -> Self {
        let cgroups = if cgroup1_is_mounted() { Cgroups::Hybrid } else { Cgroups::Unified };
        let mut features = Self { cgroups, wanted: 0, missing: BTreeMap::new(), told: false };
        let always = LOADED.into_iter().chain([Feature::Older, Feature::News, Feature::Log]);
        always.for_each(|feature| features.want(feature));
        features
    }

    /// Those that settings ask for.
    #[must_use]
    pub fn wanted(settings: &Settings) -> Self {
        let mut features = Self::of_this_host();
        for (feature, is_wanted) in [
            (Feature::Routes, settings.capacities.routes.is_some()),
            (Feature::Peers, settings.capacities.peers.is_some()),
            (Feature::Tcx, settings.tc.hook == TcHook::Auto),
            (Feature::Xdp, !settings.xdp.is_empty()),
            (Feature::Pin, settings.pin.is_some()),
        ] {
            if is_wanted {
                features.want(feature);
            } else {
                features.wanted &= !bit(feature);
            }
        }
        features
    }

    fn want(&mut self, feature: Feature) {
        self.wanted |= bit(feature);
    }

    /// Whether one is in force.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.wanted & bit(feature) != 0 && !self.missing.contains_key(&feature)
    }

    /// Notes that one is missing that was in force, and those that are of no use without it. The first reason stays.
    pub fn lose(&mut self, feature: Feature, why: impl Into<String>) {
        if !self.has(feature) {
            return;
        }
        let missing = feature.missing(why);
        if self.told {
            tell(feature, &missing);
        }
        self.missing.insert(feature, Arc::new(missing));
        for other in Feature::ALL {
            if other.row().needs == Some(feature) {
                self.lose(other, format!("it needs the feature `{}`, which is missing", feature.name()));
            }
        }
    }

    /// Those that were wanted and are missing.
    pub fn missing(&self) -> impl Iterator<Item = (Feature, &Missing)> {
        self.missing.iter().map(|(feature, missing)| (*feature, &**missing))
    }

    /// All that were wanted, each with why it is missing, if it is.
    #[must_use]
    pub fn states(&self) -> Vec<FeatureState> {
        let wanted = Feature::ALL.into_iter().filter(|feature| self.wanted & bit(*feature) != 0);
        wanted
            .map(|feature| FeatureState { feature, missing: self.missing.get(&feature).map(Arc::clone) })
            .collect()
    }

    /// Tells each that is missing, once.
    pub(super) fn tell(&mut self) {
        self.told = true;
        for (feature, missing) in self.missing() {
            tell(feature, missing);
        }
    }

    /// The sizes of tables, without those of features that are missing.
    #[must_use]
    pub fn sizes(&self, wanted: Capacities) -> Capacities {
        Capacities {
            routes: wanted.routes.filter(|_| self.has(Feature::Routes)),
            peers: wanted.peers.filter(|_| self.has(Feature::Peers)),
            ..wanted
        }
    }

    /// What of this the programs and maps were made from.
    pub(super) fn loaded(&self) -> LoadedFeatures {
        let in_force = LOADED.into_iter().filter(|feature| self.has(*feature));
        LoadedFeatures { cgroups: self.cgroups, in_force: in_force.map(bit).sum() }
    }

    /// Those without links, though their programs were loaded when these were in force.
    pub(super) fn unlinked(&self, loaded: LoadedFeatures) -> impl Iterator<Item = Feature> {
        let lost = loaded.in_force & !self.loaded().in_force;
        LINKED.into_iter().filter(move |feature| lost & bit(*feature) != 0)
    }

    /// The programs at the root cgroup for what sockets receive and for what they send.
    #[must_use]
    pub fn socket_programs(&self) -> (&'static str, &'static str) {
        if self.has(Feature::Requests) {
            ("socket_receive", "socket_transmit")
        } else {
            ("socket_receive_plain", "socket_transmit_plain")
        }
    }

    /// The program for connections that are established, and closed, where no tracepoint tells of that.
    #[must_use]
    pub fn connections_program(&self) -> &'static str {
        if self.has(Feature::Requests) { "connections" } else { "connections_plain" }
    }

    /// The programs at tracepoints.
    pub(super) fn tracepoint_programs(&self) -> Vec<Tracepoint> {
        let states = if self.has(Feature::Requests) { "socket_states" } else { "socket_states_plain" };
        [
            Tracepoint { feature: Feature::States, program: states },
            Tracepoint { feature: Feature::Reads, program: APPLICATION_READS },
        ]
        .into_iter()
        .filter(|tracepoint| self.has(tracepoint.feature))
        .collect()
    }
}

/// A program at a tracepoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tracepoint {
    pub(super) feature: Feature,
    pub(super) program: &'static str,
}

/// Features as far as pinned programs and maps were made from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LoadedFeatures {
    pub(super) cgroups: Cgroups,
    /// A bit each.
    pub(super) in_force: u32,
}

fn bit(feature: Feature) -> u32 {
    1 << feature as u32
}

fn tell(feature: Feature, missing: &Missing) {
    tracing::warn!("the feature `{}` is missing: {missing}", feature.name());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_feature_is_lost_with_it() {
        let mut features = Features::of_this_host();
        features.lose(Feature::Requests, "no bpf_loop");
        features.lose(Feature::Requests, "a second reason");
        let missing: Vec<_> = features.missing().map(|(feature, why)| (feature.name(), &*why.why)).collect();
        let needs = "it needs the feature `requests`, which is missing";
        assert_eq!(
            missing,
            [("requests", "no bpf_loop"), ("reads", needs), ("oldest", needs), ("routes", needs)]
        );
        assert_eq!(features.socket_programs().0, "socket_receive_plain");
        assert!(features.has(Feature::States) && !features.has(Feature::Oldest));
    }

    #[test]
    fn only_what_was_wanted_is_told() {
        let mut features = Features::of_this_host();
        features.lose(Feature::Xdp, "nobody asked");
        assert_eq!(features.missing().count(), 0);
        assert!(features.states().iter().all(|state| state.feature != Feature::Xdp));
    }

    #[test]
    fn what_is_loaded_makes_another_state_and_nothing_else_does() {
        let whole = Features::of_this_host();
        for feature in Feature::ALL {
            let mut other = whole.clone();
            other.lose(feature, "a reason");
            assert_eq!(other.loaded() != whole.loaded(), LOADED.contains(&feature), "{}", feature.name());
        }
    }
}
