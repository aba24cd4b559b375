//! What can go wrong with the kernel, as sentences.

use std::path::PathBuf;

use aya::{EbpfError, maps::MapError, programs::ProgramError};

use super::pinning::PinError;
use crate::{causes::with_causes, feature::Feature};

/// Why the probe could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The object was refused as a whole.
    #[error(
        "cannot load the kernel side: {}; `traffic-probe check` shows what this kernel and these privileges allow",
        with_causes(.0)
    )]
    Object(#[source] EbpfError),
    /// The kernel has no type information.
    #[error(
        "cannot read the kernel's type information at /sys/kernel/btf/vmlinux: {}; the kernel must be built with \
         CONFIG_DEBUG_INFO_BTF, as common distributions' are, and a container needs /sys/kernel/btf",
        with_causes(.0)
    )]
    Btf(#[source] aya::BtfError),
    /// The object lacks something that the agent expects.
    #[error(
        "the embedded kernel side has no {what} `{name}`: agent and kernel side were built from different sources; \
         rebuild both"
    )]
    Missing {
        /// A program or a map.
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// A program was refused.
    #[error("the kernel refused the program `{program}`: {reason}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// A program could not be attached.
    #[error("cannot attach `{program}` to {place}: {reason}")]
    Attach {
        /// Its name.
        program: &'static str,
        /// Where.
        place: String,
        /// What the kernel said.
        reason: String,
    },
    /// A map was refused.
    #[error(
        "the kernel refused the map `{map}`: {source}; if memory is the reason, {}",
        how_to_shrink(*.flag)
    )]
    MapRefused {
        /// Its name.
        map: String,
        /// The flag that says how large it is, if one does.
        flag: Option<&'static str>,
        /// Why.
        source: std::io::Error,
    },
    /// There is not enough memory, which is better known before than found out.
    #[error(
        "the kernel's tables take {needed} MiB{}, but {limit}, and too little of that is free: give the probe more \
         memory, or lower {flag}, which accounts for {largest} MiB", and_start(*.start)
    )]
    Cramped {
        /// What the tables take, in MiB.
        needed: u64,
        /// What a start takes beside that, in MiB.
        start: u64,
        /// What limits it.
        limit: String,
        /// The flag that makes most of it.
        flag: &'static str,
        /// What that is, in MiB.
        largest: u64,
    },
    /// Something without which it goes on: the feature is lost, and the start tried again.
    #[error("the feature `{}` is not available: {why}", feature.name())]
    Without {
        /// Which one.
        feature: Feature,
        /// Why.
        why: String,
    },
    /// A thread panicked.
    #[error("a thread failed: this is a bug, please report it with the log")]
    Failed,
    /// The kernel does not tell of its interfaces.
    #[error("cannot ask the kernel for the network interfaces by rtnetlink: {0}")]
    Links(#[source] std::io::Error),
    /// An interface that was asked for by name.
    #[error("--xdp names `{0}`, but there is no such interface: `ip link` lists all")]
    NoInterface(String),
    /// The cgroup hierarchy.
    #[error("cannot open the cgroup2 root {path}: {source}")]
    Cgroup {
        /// Where it is mounted.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Pinned state.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A map could not be prepared.
    #[error("cannot prepare the map `{map}`: {}", with_causes(.source))]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// What an earlier agent was taking away could not be set right.
    #[error("cannot recover the removal of services that the previous agent had begun: {source}")]
    Expiry {
        /// Why.
        source: CollectError,
    },
}

/// What a start takes of the same limit.
fn and_start(mebibytes: u64) -> String {
    if mebibytes == 0 { String::new() } else { format!(" and the start {mebibytes} MiB more") }
}

/// What gives a map room.
fn how_to_shrink(flag: Option<&str>) -> String {
    let more =
        "give the probe more memory (the cgroup's memory.max, and before kernel 5.11 `ulimit -l unlimited`)";
    flag.map_or_else(|| more.to_owned(), |flag| format!("lower {flag}, or {more}"))
}

/// Why a pass over the maps failed.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A map could not be read, or not written.
    #[error("cannot use the map `{map}`: {}", with_causes(.source))]
    Map {
        /// Its name.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// A program that is at no hook could not be run.
    #[error("cannot run the program `{program}`: {source}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be known when programs have ended that ran.
    #[error("cannot wait for running programs to end (by updating a map of maps): {source}")]
    Grace {
        /// Why.
        source: std::io::Error,
    },
}

impl CollectError {
    /// Says which map did not do what was asked of it.
    pub(super) fn of_map(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map { map, source }
    }
}

/// An error of aya with its causes in one line, and without the verifier's log, which fills screens.
#[must_use]
pub fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            tracing::debug!("the verifier's log:\n{log}");
            // Its last words before the statistics say what it did not like.
            let words = log.lines().rev().find(|line| {
                !line.is_empty()
                    && !line.starts_with("processed ")
                    && !line.starts_with("verification time")
                    && !line.starts_with("stack depth")
            });
            words.map_or_else(|| io_error.to_string(), |words| format!("{io_error} ({words})"))
        }
        other => with_causes(other),
    }
}
