//! What can be wrong with a web configuration.

use std::{io, path::PathBuf};

/// Why a web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadWebConfig {
    /// It cannot be read.
    #[error("cannot read the web configuration {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It says something that makes no sense.
    #[error("{}, line {line}: {problem}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// The line in it, from 1.
        line: u64,
        /// The field, and what is wrong with it.
        problem: String,
    },
}
