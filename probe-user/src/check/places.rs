//! What must be mounted, and settings of the kernel that are files.

use std::{fs, path::Path};

use super::finding::Finding;
use crate::attribution::cgroup2_root;

pub(super) fn look() -> [Finding; 4] {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    [cgroup2(), bpffs(&mounts), tracefs(&mounts), jit()]
}

fn cgroup2() -> Finding {
    match cgroup2_root() {
        Ok(root) => Finding::good("cgroup2", format!("mounted at {}", root.display())),
        Err(error) => Finding::missing("cgroup2", error.to_string()),
    }
}

fn bpffs(mounts: &str) -> Finding {
    match mounted(mounts, "bpf") {
        Some(Mount { place, read_only: true }) => Finding::lesser(
            "bpffs",
            format!(
                "mounted read-only at {place}; `run` works without it, but --pin pins nothing: mount it writable, in \
                 a container by a volume without `:ro`"
            ),
        ),
        Some(Mount { place, .. }) => Finding::good("bpffs", format!("mounted at {place}")),
        None => Finding::lesser(
            "bpffs",
            "not mounted; `run` works without it, but --pin pins nothing: `mount -t bpf bpf /sys/fs/bpf` mounts it",
        ),
    }
}

fn tracefs(mounts: &str) -> Finding {
    match mounted(mounts, "tracefs") {
        Some(Mount { place, .. }) => Finding::good("tracefs", format!("mounted at {place}")),
        None => Finding::lesser(
            "tracefs",
            "not mounted; `run` works without it: `mount -t tracefs tracefs /sys/kernel/tracing` mounts it",
        ),
    }
}

/// Where a file system is mounted, and how.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    place: &'a str,
    read_only: bool,
}

/// Where a file system of a type is mounted, after the text of `/proc/mounts`.
fn mounted<'a>(mounts: &'a str, kind: &str) -> Option<Mount<'a>> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (place, this_kind, options) = (fields.nth(1)?, fields.next()?, fields.next()?);
        let read_only = options.split(',').any(|option| option == "ro");
        (this_kind == kind).then_some(Mount { place, read_only })
    })
}

fn jit() -> Finding {
    const SETTING: &str = "/proc/sys/net/core/bpf_jit_enable";
    match fs::read_to_string(Path::new(SETTING)) {
        Ok(value) if value.trim() == "0" => Finding::lesser(
            "BPF JIT",
            "off: programs are interpreted and cost several times as much; turn it on with `sysctl \
             net.core.bpf_jit_enable=1`",
        ),
        Ok(_) => Finding::good("BPF JIT", "on"),
        Err(_) => Finding::lesser("BPF JIT", format!("not known: {SETTING} cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "proc /proc proc rw 0 0\nbpf /sys/fs/bpf bpf rw,mode=700 0 0\n";

    #[test]
    fn mounts_are_found_by_their_type() {
        assert_eq!(mounted(MOUNTS, "bpf"), Some(Mount { place: "/sys/fs/bpf", read_only: false }));
        assert_eq!(mounted(MOUNTS, "tracefs"), None);
        assert!(tracefs(MOUNTS).detail.contains("mount -t tracefs"));
        let read_only = MOUNTS.replace("bpf rw", "bpf ro");
        assert!(bpffs(&read_only).detail.contains("read-only at /sys/fs/bpf"));
    }
}
