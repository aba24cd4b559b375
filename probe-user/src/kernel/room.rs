//! Whether the kernel's tables fit into the memory that this process may take, looked at before they are made: where they do not,
//! the kernel may end the process instead of refusing the tables.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::util::{KernelVersion, nr_cpus};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{error::StartError, memory::Memory};
use crate::settings::Capacities;

/// What a start takes beside the tables whose sizes are set: the object and the kernel's types, what the verifier keeps of the paths
/// that it follows, and the tables that are always of one size. With the defaults (45 MiB of tables) a start peaked at 100 MiB,
/// on 6.18 with two CPUs.
const START: u64 = 64 << 20;

/// From this version on tables are charged to the cgroup, and before it to the limit on locked memory.
const CHARGED_TO_CGROUP: KernelVersion = KernelVersion::new(5, 11, 0);

/// Room that there is, and who limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Room {
    bytes: u64,
    /// What a start takes of the same room, already taken off.
    start: u64,
    limit: String,
}

/// Fails if the tables do not fit.
pub(super) fn demand(sizes: Capacities) -> Result<(), StartError> {
    let cpus = nr_cpus().unwrap_or(1);
    let tables = Memory::of(sizes, cpus).largest_first();
    let needed: u64 = tables.iter().map(|(_, bytes)| bytes).sum();
    let room =
        if KernelVersion::current().is_ok_and(|version| version < CHARGED_TO_CGROUP) {
            locked()
        } else {
            of_cgroups(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default(), &mounts())
                .map(|room| Room { bytes: room.bytes.saturating_sub(START), start: START, ..room })
        };
    match room {
        Some(Room { bytes, start, limit }) if needed > bytes => {
            let (flag, largest) = tables[0];
            let [needed, start, largest] = [needed, start, largest].map(|bytes| bytes.div_ceil(1 << 20));
            Err(StartError::Cramped { needed, start, limit, flag, largest })
        }
        _ => Ok(()),
    }
}

/// The limit on locked memory, raised before if that is allowed.
fn locked() -> Option<Room> {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    let bytes = getrlimit(Resource::Memlock).current?;
    Some(Room {
        bytes,
        start: 0,
        limit: format!("the limit on locked memory (`ulimit -l`) is {} KiB", bytes >> 10),
    })
}

/// A hierarchy of cgroups that limits memory: where it is mounted, and whether it is of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    root: PathBuf,
    unified: bool,
}

fn mounts() -> Vec<Hierarchy> {
    hierarchies(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let hierarchy = |line: &str| {
        let mut fields = line.split(' ');
        let (root, kind, options) = (fields.nth(1)?, fields.next()?, fields.next()?);
        let unified = kind == "cgroup2";
        let limits = unified || (kind == "cgroup" && options.split(',').any(|option| option == "memory"));
        limits.then(|| Hierarchy { root: root.into(), unified })
    };
    mounts.lines().filter_map(hierarchy).collect()
}

/// The least room that this process's cgroups leave, by the text of `/proc/self/cgroup`.
fn of_cgroups(own: &str, hierarchies: &[Hierarchy]) -> Option<Room> {
    let mut least: Option<Room> = None;
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|controller| controller == "memory") {
            continue;
        }
        for Hierarchy { root, .. } in hierarchies.iter().filter(|hierarchy| hierarchy.unified == unified) {
            for cgroup in Path::new(path.trim_start_matches('/')).ancestors() {
                let room = of_cgroup(&root.join(cgroup), unified);
                if let Some(room) = room
                    && least.as_ref().is_none_or(|least| room.bytes < least.bytes)
                {
                    least = Some(room);
                }
            }
        }
    }
    least
}

/// What a cgroup's limit leaves beside what is in use and cannot be dropped; none if it has no limit.
fn of_cgroup(cgroup: &Path, unified: bool) -> Option<Room> {
    let (limit, usage, cache) = if unified {
        ("memory.max", "memory.current", "file")
    } else {
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache")
    };
    let number = |file: &str| fs::read_to_string(cgroup.join(file)).ok()?.trim().parse::<u64>().ok();
    // `max`, or in version 1 a number near 2^63, is none.
    let limited = number(limit).filter(|bytes| *bytes < 1 << 60)?;
    let statistics = fs::read_to_string(cgroup.join("memory.stat")).unwrap_or_default();
    let cached = statistics.lines().find_map(|line| line.strip_prefix(cache)?.strip_prefix(' '));
    let cached: u64 = cached.and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
    let used = number(usage).unwrap_or_default().saturating_sub(cached);
    Some(Room {
        bytes: limited.saturating_sub(used),
        start: 0,
        limit: format!("{} of {} is {} MiB", limit, cgroup.display(), limited >> 20),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_that_limit_memory_are_found() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n\
                      cgroup2 /c/unified cgroup2 rw 0 0\n";
        let found = hierarchies(mounts);
        let hierarchy = |root: &str, unified| Hierarchy { root: root.into(), unified };
        assert_eq!(found, [hierarchy("/c/memory", false), hierarchy("/c/unified", true)]);
    }

    #[test]
    fn the_tightest_of_all_ancestors_counts() {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = [Hierarchy { root: root.path().into(), unified: true }];
        let write = |cgroup: &str, file: &str, text: &str| {
            fs::create_dir_all(root.path().join(cgroup)).unwrap();
            fs::write(root.path().join(cgroup).join(file), text).unwrap();
        };
        write("a/b", "memory.max", "max\n");
        assert_eq!(of_cgroups("0::/a/b\n", &hierarchy), None);
        write("a", "memory.max", "67108864\n");
        write("a", "memory.current", "30000000\n");
        write("a", "memory.stat", "anon 1\nfile 10000000\n");
        let left = of_cgroups("1:name=systemd:/a\n0::/a/b\n", &hierarchy).unwrap();
        assert_eq!(left.bytes, 67_108_864 - 20_000_000);
        assert!(left.limit.starts_with("memory.max of ") && left.limit.ends_with("/a is 64 MiB"), "{left:?}");
        write("a/b", "memory.max", "1048576\n");
        assert_eq!(of_cgroups("0::/a/b\n", &hierarchy).unwrap().bytes, 1 << 20);
    }
}
