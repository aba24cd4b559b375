//! Globs of `--interfaces` that match nothing: most often a name that was mistyped.

use std::collections::BTreeMap;

use crate::{
    kernel::links::{self, Link},
    settings::Settings,
};

/// What is to be said of globs of `--interfaces` that match none. Where interfaces cannot be listed, nothing: that is told elsewhere.
#[must_use]
pub fn interfaces_in_vain(settings: &Settings) -> Option<String> {
    let present = links::list().ok()?;
    settings.interfaces.complaint(&names(&present))
}

pub(super) fn names(present: &BTreeMap<u32, Link>) -> Vec<&str> {
    present.values().map(|link| link.name.as_str()).collect()
}
