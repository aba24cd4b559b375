//! What the node uses, from procfs.

use std::{fs, time::Duration};

use procfs::{Current, CurrentSI, KernelStats, LoadAverage, Meminfo};

use super::{Resource, Stalls, cgroup::stalled};

/// What the node uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeUse {
    /// CPU time of all CPUs since the machine started, by what it went to; idling is among it.
    pub cpu: Vec<(&'static str, Duration)>,
    /// CPUs that are online.
    pub cpus: u64,
    /// Memory.
    pub memory: Room,
    /// Swap space.
    pub swap: Room,
    /// Tasks that ran or waited for a CPU or a device, on average over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// How long tasks were held up.
    pub stalls: Stalls,
}

/// Room in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Taken.
    pub used: u64,
    /// What could be taken, for memory by the kernel's own estimate: caches that can be dropped count.
    pub available: u64,
}

/// Reads it.
pub fn read() -> procfs::ProcResult<NodeUse> {
    let stats = KernelStats::current()?;
    let memory = Meminfo::current()?;
    let load = LoadAverage::current()?;
    let available = memory.mem_available.unwrap_or(memory.mem_free);
    Ok(NodeUse {
        cpu: times(&stats.total),
        cpus: stats.cpu_time.len() as u64,
        memory: Room { used: memory.mem_total.saturating_sub(available), available },
        swap: Room { used: memory.swap_total.saturating_sub(memory.swap_free), available: memory.swap_free },
        // Two digits of each are given, which a float of 32 bits does not hold exactly.
        load: [load.one, load.five, load.fifteen].map(|average| (f64::from(average) * 100.0).round() / 100.0),
        stalls: Resource::ALL.map(|resource| {
            stalled(&fs::read_to_string(format!("/proc/pressure/{}", resource.label())).unwrap_or_default())
        }),
    })
}

/// Time as a guest is within `user` and `nice`.
fn times(cpu: &procfs::CpuTime) -> Vec<(&'static str, Duration)> {
    let times = [
        ("user", Some(cpu.user_duration())),
        ("nice", Some(cpu.nice_duration())),
        ("system", Some(cpu.system_duration())),
        ("idle", Some(cpu.idle_duration())),
        ("iowait", cpu.iowait_duration()),
        ("irq", cpu.irq_duration()),
        ("softirq", cpu.softirq_duration()),
        ("steal", cpu.steal_duration()),
    ];
    times.into_iter().filter_map(|(mode, time)| Some((mode, time?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let node = read().unwrap();
        assert!(node.cpus > 0 && node.memory.used > 0 && node.memory.available > 0, "{node:?}");
        assert_eq!(node.cpu.len(), 8);
        assert!(
            node.cpu.iter().map(|(_, time)| *time).sum::<Duration>() > Duration::from_secs(1),
            "{node:?}"
        );
    }
}
