//! What services and the node use.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Tick;
use crate::{
    report::Report,
    resources::{self, ServiceUse, Stalls, known},
};

/// What a service uses, all that go by its name together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceResources {
    /// CPU time of its cgroups.
    pub cpu_seconds_total: Option<f64>,
    /// Memory that is charged to them; null where no controller counts it.
    pub memory_bytes: Option<u64>,
    /// How long its tasks were held up; empty where the kernel does not tell.
    pub pressure_seconds_total: Vec<Pressure>,
}

/// How long tasks were held up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pressure {
    /// What they waited for: `cpu`, `memory` or `io`.
    pub resource: String,
    /// `some` of them, or all (`full`).
    pub extent: String,
    /// For how long.
    pub seconds: f64,
}

/// What the node uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Of when it is.
    pub tick: Tick,
    /// CPU time of all CPUs since boot, by mode.
    pub cpu_seconds_total: Vec<CpuTime>,
    /// CPUs that are online.
    pub cpus: u64,
    /// Memory.
    pub memory_bytes: Room,
    /// Swap space.
    pub swap_bytes: Room,
    /// Tasks that ran or waited, on average.
    pub load: LoadAverages,
    /// How long tasks were held up; empty where the kernel does not tell.
    pub pressure_seconds_total: Vec<Pressure>,
}

/// CPU time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CpuTime {
    /// `user`, `nice`, `system`, `idle`, `iowait`, `irq`, `softirq` or `steal`.
    pub mode: String,
    /// How much.
    pub seconds: f64,
}

/// Room in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Room {
    /// Taken.
    pub used: u64,
    /// What could be taken.
    pub available: u64,
}

/// The load averages.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LoadAverages {
    /// Over one minute.
    #[serde(rename = "1m")]
    pub one_minute: f64,
    /// Over five minutes.
    #[serde(rename = "5m")]
    pub five_minutes: f64,
    /// Over fifteen minutes.
    #[serde(rename = "15m")]
    pub fifteen_minutes: f64,
}

impl From<&ServiceUse> for ServiceResources {
    fn from(used: &ServiceUse) -> Self {
        Self {
            cpu_seconds_total: used.cpu.map(|time| time.as_secs_f64()),
            memory_bytes: used.memory,
            pressure_seconds_total: pressure(&used.stalls),
        }
    }
}

impl Node {
    /// None if procfs could not be read.
    pub(super) fn of(report: &Report, tick: Tick) -> Option<Self> {
        let node = report.resources.node.as_ref()?;
        let room = |room: resources::node::Room| Room { used: room.used, available: room.available };
        let [one_minute, five_minutes, fifteen_minutes] = node.load;
        let times = node.cpu.iter();
        Some(Self {
            tick,
            cpu_seconds_total: times
                .map(|(mode, time)| CpuTime { mode: (*mode).to_owned(), seconds: time.as_secs_f64() })
                .collect(),
            cpus: node.cpus,
            memory_bytes: room(node.memory),
            swap_bytes: room(node.swap),
            load: LoadAverages { one_minute, five_minutes, fifteen_minutes },
            pressure_seconds_total: pressure(&node.stalls),
        })
    }
}

fn pressure(stalls: &Stalls) -> Vec<Pressure> {
    known(stalls)
        .map(|(resource, extent, time)| Pressure {
            resource: resource.label().to_owned(),
            extent: extent.label().to_owned(),
            seconds: time.as_secs_f64(),
        })
        .collect()
}
