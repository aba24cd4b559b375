//! What can go wrong with pinned state, as sentences.

use std::{io, path::PathBuf};

use aya::programs::links::LinkError;

use crate::{causes::with_causes, instance::Running};

/// Why state could not be pinned, taken up or removed.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// A file system that cannot hold programs.
    #[error(
        "--pin {} is not on a bpffs, which alone can hold programs and maps: `mount -t bpf bpf /sys/fs/bpf` mounts one; then \
         choose a directory in it, such as /sys/fs/bpf/traffic-probe", .0.display()
    )]
    NoBpffs(PathBuf),
    /// A bpffs that takes nothing.
    #[error(
        "--pin {} is on a bpffs that is mounted read-only, and to pin is to write: mount it for writing, in a container by a \
         volume without `:ro`, in Kubernetes without `readOnly`", .0.display()
    )]
    ReadOnly(PathBuf),
    /// A name that a bpffs refuses.
    #[error("--pin {} contains a dot, which bpffs does not allow in names: choose another name", .0.display())]
    Dot(PathBuf),
    /// An agent has it.
    #[error(transparent)]
    Running(#[from] Running),
    /// Something in the directory.
    #[error("cannot {what} {}: {}", path.display(), with_causes(.source))]
    File {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A link that no path can hold.
    #[error("cannot pin the link {link}: {reason}")]
    Unpinnable {
        /// Its name.
        link: String,
        /// Why not.
        reason: String,
    },
    /// A link is not there, or a map.
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
}

impl PinError {
    /// Whether the place is at fault, so that the probe counts without it: not what was typed, nor another agent.
    pub(in crate::kernel) const fn is_of_place(&self) -> bool {
        !matches!(self, Self::Dot(_) | Self::Running(_))
    }

    pub(in crate::kernel) fn unpinnable(link: &str, error: &LinkError) -> Self {
        Self::Unpinnable { link: link.to_owned(), reason: error.to_string() }
    }

    /// What is wrong with the place, without what happened to be pinned first.
    pub(in crate::kernel) fn of_place(&self) -> String {
        match self {
            Self::File { source, .. } => {
                format!("nothing can be pinned where --pin says: {}", with_causes(source))
            }
            error => error.to_string(),
        }
    }

    /// For `map_err`: what was tried with a path.
    pub(super) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
