//! Why there are no results: a sentence that says what to do.

use std::{io, path::Path, time::Duration};

/// Why a run came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Undone {
    /// It is not installed.
    #[error(
        "cannot start newman as `{program}`: {reason}; install it by `npm install --global newman@6` (with Node.js 16 or \
         later), or say by --newman where it is"
    )]
    NoNewman { program: String, reason: String },
    /// It says nothing that makes sense.
    #[error(
        "`{program}` is not a working newman: {reason}; try `{program} --version`, or name another with --newman"
    )]
    NotNewman { program: String, reason: String },
    /// The collection.
    #[error("{file} is not a usable collection: {reason}")]
    Collection { file: String, reason: String },
    /// newman says why not.
    #[error("newman did not run the collection: {0}")]
    Refused(String),
    /// It takes too long.
    #[error(
        "the run was killed after {}: find the request that hangs, or raise --timeout",
        humantime::format_duration(*.0)
    )]
    TooLong(Duration),
    /// It writes too much.
    #[error(
        "newman's report is longer than {} MiB: split the collection, or shorten its test names",
        .0 >> 20
    )]
    TooMuch(u64),
    /// A signal.
    #[error("stopped by a signal before the run was done")]
    Stopped,
    /// This machine.
    #[error("cannot {what}: {reason}")]
    Machine { what: &'static str, reason: String },
}

impl Undone {
    pub(super) fn machine(what: &'static str, error: &io::Error) -> Self {
        Self::Machine { what, reason: error.to_string() }
    }

    pub(super) fn collection(file: &Path, reason: &impl ToString) -> Self {
        Self::Collection { file: file.display().to_string(), reason: reason.to_string() }
    }
}
