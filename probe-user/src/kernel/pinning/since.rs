//! Since when pinned maps count.

use std::{fs, path::Path, time::SystemTime};

use super::{
    layout::Layout,
    pins::{MAPS, names},
};

/// When the maps that are pinned in a directory were made, and so were zero: the directory that they are in has changed last when the last
/// of them came. None if there are none.
#[must_use]
pub fn pinned_since(directory: &Path) -> Option<SystemTime> {
    let layouts = names(directory).ok()?.into_iter().filter(|name| Layout::is_name(name));
    layouts.filter_map(|layout| fs::metadata(directory.join(layout).join(MAPS)).ok()?.modified().ok()).max()
}
