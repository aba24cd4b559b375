//! One agent at a time: a lock on a directory, which the kernel takes back however its holder ends.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The right to be the agent, until it is dropped.
#[derive(Debug)]
pub struct Instance {
    _lock: File,
}

/// Another has that right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "another traffic-probe is running and holds {}: end it first; one that is to run beside it needs directories of its \
     own for --lock and --pin", .0.display()
)]
pub struct Running(pub PathBuf);

impl Instance {
    /// Asks for it by a directory of its own, made if it is missing. Where it cannot be made, there is no lock: that is
    /// said, and keeps nobody from counting.
    pub fn of_node(directory: &Path) -> Result<Option<Self>, Running> {
        // Nobody else may open it, or could keep the agent from starting.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        match made.and_then(|()| Self::of_directory(directory)) {
            Ok(claimed) => claimed.map(Some),
            Err(error) => {
                tracing::warn!(
                    "cannot lock {} ({error}): a second agent would not notice this one; choose another directory \
                     with --lock",
                    directory.display()
                );
                Ok(None)
            }
        }
    }

    /// Asks for it by a directory that is there.
    pub fn of_directory(directory: &Path) -> io::Result<Result<Self, Running>> {
        let lock = File::open(directory)?;
        match lock.try_lock() {
            Ok(()) => Ok(Ok(Self { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(Err(Running(directory.to_owned()))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("traffic-probe");
        let first = Instance::of_node(&directory).unwrap().unwrap();
        let second = Instance::of_node(&directory).unwrap_err();
        assert!(second.to_string().starts_with("another traffic-probe is running"), "{second}");
        drop(first);
        assert!(Instance::of_node(&directory).unwrap().is_some());
    }

    #[test]
    fn without_a_place_for_the_lock_there_is_none() {
        assert!(Instance::of_node(Path::new("/proc/nowhere")).unwrap().is_none());
    }
}
