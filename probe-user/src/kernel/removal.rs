//! Removing what agents left in the kernel.

use std::{io, path::Path};

use aya::programs::{
    TcAttachType,
    tc::{TcError, qdisc_detach_program},
};

use super::{
    interfaces,
    object::{INTERFACE_RECEIVE, INTERFACE_TRANSMIT},
    pinning::{PinDirectory, PinError, Removed},
};

/// Why something was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// Pinned state.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel does not tell of its interfaces.
    #[error("cannot ask the kernel for the network interfaces by rtnetlink: {0}")]
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
    for interface in interfaces::present_names().map_err(RemoveError::Links)? {
        let mut found = false;
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
