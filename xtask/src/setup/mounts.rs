//! The two kernel file systems that the probe reads and writes, mounted where a system has not done it.

use std::{fs, path::Path, process::Command};

use super::{step::Steps, system::SystemChanges};
use crate::exec;

struct KernelFs {
    kind: &'static str,
    directory: &'static str,
    why: &'static str,
}

const WANTED: [KernelFs; 2] = [
    KernelFs { kind: "bpf", directory: "/sys/fs/bpf", why: "pinned programs and maps live there" },
    KernelFs { kind: "tracefs", directory: "/sys/kernel/tracing", why: "tracepoints are found there" },
];

/// Notes what has to be mounted.
pub(crate) fn collect(changes: &mut SystemChanges, steps: &Steps) {
    let table = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for fs in &WANTED {
        if is_mounted(&table, fs) {
            steps.there(&format!("{} at {}", fs.kind, fs.directory), fs.why);
        } else if Path::new(fs.directory).is_dir() {
            changes.mount.push(fs.directory.into());
        } else {
            eprintln!(
                "setup: this kernel has no {}, so {} stays unmounted ({})",
                fs.kind, fs.directory, fs.why
            );
        }
    }
}

/// Mounts one of the two. A refusal (a container may not mount) is told, but no reason to stop: the agent judges
/// for itself what it cannot do without.
pub(crate) fn mount(directory: &str) {
    let Some(fs) = WANTED.iter().find(|fs| fs.directory == directory) else {
        eprintln!("setup: {directory} is not a directory that the probe wants mounted; left alone");
        return;
    };
    // Through mount(8), which every distribution has, to do without a dependency or unsafe code.
    if let Err(error) = exec::run(Command::new("mount").args(["-t", fs.kind, fs.kind, fs.directory])) {
        eprintln!("setup: going on without {} at {} ({}): {error:#}", fs.kind, fs.directory, fs.why);
    }
}

fn is_mounted(table: &str, fs: &KernelFs) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(fs.directory) && fields.next() == Some(fs.kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_is_mounted() {
        let table = "sysfs /sys sysfs rw 0 0\nnone /sys/fs/bpf bpf rw,mode=700 0 0\ntracefs /elsewhere tracefs rw 0 0\n";
        assert!(is_mounted(table, &WANTED[0]));
        assert!(!is_mounted(table, &WANTED[1]));
    }
}
