//! Whether pinned state is of the making of this agent: only then can its maps be read, and its programs stay.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use crate::{kernel::Features, settings::Capacities};

/// To be raised with each change in how the agent uses what is pinned that shows in nothing else that is hashed.
const VERSION: u32 = 1;

/// What the names of all layouts begin with.
const PREFIX: &str = "layout-";

/// The version of a pinned state, as the name of its directory: a hash of everything that programs and maps were made
/// from. The object stands for the programs and, by what they do with them, for the types in the maps; sizes of maps
/// and what the kernel has are set at load. An agent whose hash differs does not read the other's state but replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Layout(String);

impl Layout {
    /// The layout of an object that is loaded in this way. Interfaces are numbered by their network namespace.
    pub(in crate::kernel) fn of(
        object: &[u8],
        features: Features,
        capacities: Capacities,
        namespace: u64,
    ) -> Self {
        // The standard library may hash in another way in a later version: that is a layout replaced in vain.
        let mut hasher = DefaultHasher::new();
        (VERSION, object, features, capacities, namespace).hash(&mut hasher);
        Self(format!("{PREFIX}{:016x}", hasher.finish()))
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
    use crate::kernel::{Heads, object::StateSource};

    const CAPACITIES: Capacities = Capacities { services: 4096, series: 65_536, clients: 262_144 };
    const FEATURES: Features = Features { states: StateSource::Tracepoint, heads: Heads::Read };

    #[test]
    fn whatever_programs_and_maps_were_made_from_makes_another_layout() {
        let layout = Layout::of(b"object", FEATURES, CAPACITIES, 1);
        assert_eq!(layout, Layout::of(b"object", FEATURES, CAPACITIES, 1));
        let others = [
            Layout::of(b"other", FEATURES, CAPACITIES, 1),
            Layout::of(b"object", Features { heads: Heads::PassedOver, ..FEATURES }, CAPACITIES, 1),
            Layout::of(b"object", FEATURES, Capacities { clients: 64, ..CAPACITIES }, 1),
            Layout::of(b"object", FEATURES, CAPACITIES, 2),
        ];
        assert!(others.iter().all(|other| *other != layout));
        assert!(others.iter().all(|other| Layout::is_name(&other.0)));
    }

    #[test]
    fn only_the_names_of_layouts_are_taken_for_ours() {
        assert!(Layout::is_name("layout-0123456789abcdef"));
        for name in ["layout-", "layout-0123", "layout-0123456789abcdeg", "globals", "0123456789abcdef"] {
            assert!(!Layout::is_name(name), "{name}");
        }
    }
}
