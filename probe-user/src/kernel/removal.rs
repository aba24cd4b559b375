//! Removing what agents left in the kernel.

use std::{io, path::Path};

use aya::programs::{
    TcAttachType,
    tc::{TcError, qdisc_detach_program},
};

use super::{
    clsact, links,
    object::{INTERFACE_RECEIVE, INTERFACE_TRANSMIT},
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
    /// A filter of an interface.
    #[error("cannot remove the filter `{program}` of the interface {interface}: {reason}")]
    Filter {
        /// Its name.
        program: &'static str,
        /// Where.
        interface: String,
        /// What the kernel said.
        reason: String,
    },
}

/// Removes everything that is pinned in a directory, and the directory. None if that was not there.
pub fn remove_pinned(directory: &Path) -> Result<Option<Removed>, RemoveError> {
    let Some(directory) = PinDirectory::find(directory)? else { return Ok(None) };
    Ok(Some(directory.remove()?))
}

/// Removes the filters that a killed agent left on the interfaces of this network namespace, before kernel 6.6: no other
/// has their names. Returns how many interfaces had some.
pub fn remove_filters() -> Result<usize, RemoveError> {
    let mut cleaned = 0;
    for (index, link) in links::list().map_err(RemoveError::Links)? {
        let interface = link.name;
        // With the clsact, if it was the agent's; then those of agents whose filters had no handle of their own.
        let mut found = clsact::remove_left(index);
        let filters =
            [(INTERFACE_RECEIVE, TcAttachType::Ingress), (INTERFACE_TRANSMIT, TcAttachType::Egress)];
        for (program, way) in filters {
            match qdisc_detach_program(&interface, way, program) {
                Ok(()) => found = true,
                Err(TcError::IoError(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(RemoveError::Filter { program, interface, reason: error.to_string() });
                }
            }
        }
        cleaned += usize::from(found);
    }
    Ok(cleaned)
}
