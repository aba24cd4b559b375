//! Whether pinned state is of the making of this agent: only then can its maps be read, and its programs stay.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use crate::{
    kernel::features::LoadedFeatures,
    peer_networks::PeerNetworks,
    proxies::Proxies,
    settings::{Capacities, TcAttachment},
};

/// To be raised with each change in how the agent uses what is pinned that shows in nothing else that is hashed.
const VERSION: u32 = 3;

/// What the names of all layouts begin with.
const PREFIX: &str = "layout-";

/// The version of a pinned state, as the name of its directory: a hash of everything that programs and maps were made
/// from. The object stands for the programs and, by what they do with them, for the types in the maps; sizes of maps
/// and what the kernel has are set at load. An agent whose hash differs does not read the other's state but replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Layout(String);

/// How an object is loaded and attached, as far as what an earlier agent did would not do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernel) struct Making {
    /// What was loaded.
    pub(in crate::kernel) features: LoadedFeatures,
    /// Sizes of maps.
    pub(in crate::kernel) capacities: Capacities,
    /// Where programs are at interfaces: one that is elsewhere would count a second time.
    pub(in crate::kernel) tc: TcAttachment,
    /// The network namespace: interfaces are numbered by it.
    pub(in crate::kernel) namespace: u64,
    /// Trusted proxies: a connection is judged once, when it is established.
    pub(in crate::kernel) proxies: Proxies,
    /// Networks that are one peer: what they are numbered by.
    pub(in crate::kernel) peer_networks: PeerNetworks,
}

impl Layout {
    /// The layout of an object that is loaded and attached in this way.
    pub(in crate::kernel) fn of(object: &[u8], how: &Making) -> Self {
        // The standard library may hash in another way in a later version: that is a layout replaced in vain.
        let mut hasher = DefaultHasher::new();
        (VERSION, object, how).hash(&mut hasher);
        Self(format!("{PREFIX}{:016x}", hasher.finish()))
    }

    /// One that no agent has, for what is pinned for a moment. Should it be left behind, the next agent takes it for what
    /// it is: not whole.
    pub(in crate::kernel) fn for_trial() -> Self {
        Self(format!("{PREFIX}{:016x}", 0))
    }

    /// Whether a directory's name is that of a layout: whatever else is there is not ours.
    pub(super) fn is_name(name: &str) -> bool {
        name.strip_prefix(PREFIX)
            .is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_hexdigit()))
    }
}

impl AsRef<Path> for Layout {
    fn as_ref(&self) -> &Path {
        self.0.as_ref()
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::object::Cgroups,
        settings::{TcHook, TcxOrder},
    };

    const HOW: Making = Making {
        features: LoadedFeatures { cgroups: Cgroups::Unified, in_force: 7 },
        capacities: Capacities {
            services: 4096,
            series: 65_536,
            series_per_service: 8192,
            clients: 262_144,
            routes: None,
            peers: None,
        },
        tc: TcAttachment { hook: TcHook::Auto, order: TcxOrder::Head, priority: 3 },
        namespace: 1,
        proxies: Proxies::NONE,
        peer_networks: PeerNetworks::NONE,
    };

    #[test]
    fn whatever_programs_and_maps_were_made_from_makes_another_layout() {
        let layout = Layout::of(b"object", &HOW);
        assert_eq!(layout, Layout::of(b"object", &HOW));
        let others = [
            Layout::of(b"other", &HOW),
            Layout::of(
                b"object",
                &Making { features: LoadedFeatures { in_force: 6, ..HOW.features }, ..HOW },
            ),
            Layout::of(
                b"object",
                &Making { capacities: Capacities { clients: 64, ..HOW.capacities }, ..HOW },
            ),
            Layout::of(b"object", &Making { tc: TcAttachment { order: TcxOrder::Tail, ..HOW.tc }, ..HOW }),
            Layout::of(b"object", &Making { namespace: 2, ..HOW }),
            Layout::of(
                b"object",
                &Making { proxies: std::iter::once("::1".parse().unwrap()).collect(), ..HOW },
            ),
            Layout::of(
                b"object",
                &Making { peer_networks: std::iter::once("::1=a".parse().unwrap()).collect(), ..HOW },
            ),
        ];
        assert!(others.iter().all(|other| *other != layout));
        assert!(others.iter().all(|other| Layout::is_name(&other.0)));
        assert!(Layout::is_name(&Layout::for_trial().0));
    }

    #[test]
    fn only_the_names_of_layouts_are_taken_for_ours() {
        assert!(Layout::is_name("layout-0123456789abcdef"));
        for name in ["layout-", "layout-0123", "layout-0123456789abcdeg", "globals", "0123456789abcdef"] {
            assert!(!Layout::is_name(name), "{name}");
        }
    }
}
