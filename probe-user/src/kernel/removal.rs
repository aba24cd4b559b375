//! Removing what agents left in the kernel.

use std::{io, path::Path};

use super::{
    clsact, links,
    pinning::{PinDirectory, PinError, Removed},
};

/// Why something was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Pinned state.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Which interfaces there are.
    #[error("cannot list the network interfaces: {0}")]
    Links(#[source] io::Error),
}

/// Removes everything that is pinned in a directory, and the directory. None if that was not there.
pub fn remove_pinned(directory: &Path) -> Result<Option<Removed>, RemoveError> {
    let Some(directory) = PinDirectory::find(directory)? else { return Ok(None) };
    Ok(Some(directory.remove()?))
}

/// Removes the filters that a killed agent left on the interfaces of this network namespace, where it did without TCX,
/// and the `clsact` that it made for them: by their handle and name, which nobody else's have. Returns how many interfaces
/// had some.
pub fn remove_filters() -> Result<usize, RemoveError> {
    let links = links::list().map_err(RemoveError::Links)?;
    Ok(links.into_keys().filter(|index| clsact::remove_left(*index)).count())
}
