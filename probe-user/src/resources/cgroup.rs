//! What a cgroup uses: `Documentation/admin-guide/cgroup-v2.rst` of the kernel, and `cgroup-v1/`.
//!
//! CPU time is there in version 2 since Linux 4.15, whether or not a controller is enabled; memory only where its controller
//! is, which on hosts with both versions usually is version 1. Pressure is in version 2 alone, since 4.20.

use std::{fs, path::Path, time::Duration};

use super::{Extent, Resource, Stalls};
use crate::attribution::Place;

/// What was read of a service's cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time.
    pub cpu: Option<Duration>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Stalls.
    pub stalls: Stalls,
}

/// Reads them. What a kernel or a host does not have, or what has gone, is none.
#[must_use]
pub fn read(place: &Place) -> Usage {
    let unified = place.unified.as_deref();
    let cpu = unified.and_then(cpu_of_version2).or_else(|| {
        let nanoseconds = number(&place.cpu.as_deref()?.join("cpuacct.usage"))?;
        Some(Duration::from_nanos(nanoseconds))
    });
    let memory = unified
        .and_then(|directory| number(&directory.join("memory.current")))
        .or_else(|| number(&place.memory.as_deref()?.join("memory.usage_in_bytes")));
    let stalls =
        Resource::ALL.map(|resource| unified.map(|cgroup| pressure(cgroup, resource)).unwrap_or_default());
    Usage { cpu, memory, stalls }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn cpu_of_version2(cgroup: &Path) -> Option<Duration> {
    let text = fs::read_to_string(cgroup.join("cpu.stat")).ok()?;
    let microseconds = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
    Some(Duration::from_micros(microseconds))
}

fn pressure(cgroup: &Path, resource: Resource) -> [Option<Duration>; Extent::ALL.len()] {
    let text = fs::read_to_string(cgroup.join(format!("{}.pressure", resource.label()))).unwrap_or_default();
    stalled(&text)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=1234`, in microseconds, and a second line for `full`.
pub(super) fn stalled(text: &str) -> [Option<Duration>; Extent::ALL.len()] {
    Extent::ALL.map(|extent| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(extent.label()))?;
        let total = line.split(' ').find_map(|field| field.strip_prefix("total="))?;
        total.parse().ok().map(Duration::from_micros)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn version_2_comes_first_and_version_1_stands_in() {
        let unified = cgroup(&[
            ("cpu.stat", "usage_usec 1500000\nuser_usec 1000000\n"),
            ("cpu.pressure", "some avg10=0.00 avg60=0.10 avg300=0.00 total=2500\nfull avg10=0.00 total=0\n"),
            ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"),
        ]);
        let version1 = cgroup(&[("cpuacct.usage", "1000000000\n"), ("memory.usage_in_bytes", "4096\n")]);
        let there = |directory: &tempfile::TempDir| Some(directory.path().to_owned());
        let both = Place { unified: there(&unified), cpu: there(&version1), memory: there(&version1) };
        let usage = read(&both);
        assert_eq!((usage.cpu, usage.memory), (Some(Duration::from_millis(1500)), Some(4096)));
        assert_eq!(
            usage.stalls[Resource::Cpu as usize],
            [Some(Duration::from_micros(2500)), Some(Duration::ZERO)]
        );
        assert_eq!(usage.stalls[Resource::Memory as usize], [None, None]);
        assert_eq!(usage.stalls[Resource::Io as usize], [Some(Duration::from_micros(7)), None]);
        let alone = read(&Place { unified: None, ..both });
        assert_eq!((alone.cpu, alone.memory), (Some(Duration::from_secs(1)), Some(4096)));
    }

    #[test]
    fn what_has_gone_is_none() {
        let gone = cgroup(&[]).path().to_owned();
        assert_eq!(read(&Place { unified: Some(gone), ..Place::default() }), Usage::default());
        assert_eq!(read(&Place::default()), Usage::default());
        assert_eq!(stalled("nonsense\nsome total=\nfull total=x"), [None, None]);
    }
}
