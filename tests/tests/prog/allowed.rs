//! What each kernel must allow: a program that stops loading would otherwise pass for a feature that this kernel lacks.

use aya::util::KernelVersion;
use probe_user::{feature::Feature, kernel::Features};

/// Features, by the first kernel whose verifier takes their programs. Iterators are not among them: builds of one version
/// allow them, and others refuse.
const SINCE: [(Feature, KernelVersion); 6] = [
    (Feature::Requests, KernelVersion::new(5, 17, 0)),
    (Feature::States, KernelVersion::new(5, 11, 0)),
    (Feature::Reads, KernelVersion::new(5, 17, 0)),
    (Feature::Datagrams, KernelVersion::new(5, 10, 0)),
    (Feature::Older, KernelVersion::new(5, 10, 0)),
    (Feature::Interfaces, KernelVersion::new(5, 10, 0)),
];

/// Fails if this kernel refused what one of its version takes; what the test left out itself it did not refuse.
pub(crate) fn demand(features: &Features, left_out: &[Feature]) {
    let version = KernelVersion::current().expect("the kernel tells its version");
    for (feature, missing) in features.missing().filter(|(feature, _)| !left_out.contains(feature)) {
        let takes = SINCE.iter().any(|(taken, since)| *taken == feature && version >= *since);
        assert!(!takes, "{} is missing under {version:?}: {}", feature.name(), missing.why);
    }
}
