//! Waiting until every program that runs now has ended.
//!
//! Programs run as readers of RCU. The kernel waits for all of these when a map of maps gets another map in the place of one
//! (`maybe_wait_bpf_programs` in `kernel/bpf/syscall.c`, kernel 4.18), so that whoever changed it knows that nobody uses the old
//! one any more. `membarrier(2)` waits for the same, but not where CPUs run without a tick (`nohz_full`).

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use super::{
    error::{CollectError, StartError},
    syscall,
};

/// A map of maps that nobody reads, and the one that is put into it repeatedly.
#[derive(Debug)]
pub struct Grace {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Grace {
    /// Makes the two maps.
    ///
    /// # Errors
    /// If the kernel has no memory for them, or does not let us.
    pub fn new() -> Result<Self, StartError> {
        Self::make().map_err(|source| StartError::Expiry { source: CollectError::Grace { source } })
    }

    fn make() -> io::Result<Self> {
        let inner = syscall::create_array()?;
        Ok(Self { outer: syscall::create_array_of(inner.as_fd())?, inner })
    }

    /// Waits.
    ///
    /// # Errors
    /// What `bpf(2)` says: then nobody has waited.
    pub fn wait(&self) -> Result<(), CollectError> {
        syscall::put_map_into(self.outer.as_fd(), self.inner.as_fd())
            .map_err(|source| CollectError::Grace { source })
    }
}
