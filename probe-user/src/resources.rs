//! What services and the node use: CPU, memory, and what waits for them.
//!
//! Of a service it is what its cgroups use, if it has some of its own; of the node what procfs tells. Both are read once a
//! tick, of services as many as [`meter`] allows.

pub mod cgroup;
pub mod meter;
pub mod node;

use std::{collections::BTreeMap, time::Duration};

/// What services and the node use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// By name: those that have cgroups of their own.
    pub services: BTreeMap<String, ServiceUse>,
    /// None if procfs cannot be read.
    pub node: Option<node::NodeUse>,
}

/// What a service uses, all its cgroups together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceUse {
    /// CPU time, since its first cgroup was made.
    pub cpu: Option<Duration>,
    /// Memory that is charged to it, in bytes, the page cache of its files included.
    pub memory: Option<u64>,
    /// How long it was held up.
    pub stalls: Stalls,
}

/// What a task may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A CPU.
    Cpu = 0,
    /// Memory, that has to be reclaimed or read back.
    Memory = 1,
    /// A block device.
    Io = 2,
}

/// How many tasks wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// At least one.
    Some = 0,
    /// All that would have something to do.
    Full = 1,
}

/// For how long tasks waited, indexed by [`Resource`] and [`Extent`]; none where the kernel does not tell (PSI).
pub type Stalls = [[Option<Duration>; Extent::ALL.len()]; Resource::ALL.len()];

impl Resource {
    /// All of them, indexed by their value.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Io];

    /// The value of the label `resource`, and the name of its file.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }
}

impl Extent {
    /// Both, indexed by their value.
    pub const ALL: [Self; 2] = [Self::Some, Self::Full];

    /// The value of the label `extent`, and the first word of its line.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Some => "some",
            Self::Full => "full",
        }
    }
}

/// The stalls that are known, with what they are of.
pub fn known(stalls: &Stalls) -> impl Iterator<Item = (Resource, Extent, Duration)> + '_ {
    Resource::ALL.into_iter().flat_map(move |resource| {
        Extent::ALL.into_iter().filter_map(move |extent| {
            stalls[resource as usize][extent as usize].map(|time| (resource, extent, time))
        })
    })
}
