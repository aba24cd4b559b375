//! What procfs tells of a process.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::hierarchies;

/// A mount of procfs.
#[derive(Clone, Debug)]
pub(super) struct Procfs {
    root: PathBuf,
}

impl Default for Procfs {
    fn default() -> Self {
        Self { root: "/proc".into() }
    }
}

/// Whether a socket was made by init for another: systemd's socket activation.
pub(super) fn is_init(process: u32, command: &str) -> bool {
    process == 1 || command == "systemd"
}

impl Procfs {
    #[cfg(test)]
    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The directory of a process.
    pub(super) fn directory(&self, process: u32) -> PathBuf {
        self.root.join(process.to_string())
    }

    /// The processes that there are, in the order of their numbers.
    pub(super) fn processes(&self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let mut processes: Vec<_> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        processes.sort_unstable();
        processes
    }

    /// The name of a process: that of its main thread.
    pub(super) fn name(&self, process: u32) -> Option<String> {
        name(&self.directory(process))
    }

    /// The name of the process that a thread was seen in, if that is still the same process.
    pub(super) fn leader(&self, process: u32, thread: &str, cgroup: Option<&str>) -> Option<String> {
        if self.is_same(process, thread, cgroup) { self.name(process) } else { None }
    }

    /// The name that the cgroups of a process tell, if that is still the process that a thread was seen in.
    pub(super) fn group(&self, process: u32, thread: &str, cgroup: Option<&str>) -> Option<String> {
        hierarchies::name(&self.cgroups_of(process, thread, cgroup)?, cgroup)
    }

    /// The paths of a process's cgroups, if that is still the process that a thread was seen in.
    pub(super) fn paths(&self, process: u32, thread: &str, cgroup: Option<&str>) -> Vec<String> {
        let is_other = process == 0 || is_init(process, thread) || !self.is_same(process, thread, cgroup);
        let text = if is_other { None } else { self.cgroups(process) }.unwrap_or_default();
        hierarchies::paths(&text).map(str::to_owned).collect()
    }

    /// The name of who holds a socket: by its cgroups, or by itself.
    pub(super) fn service(&self, process: u32) -> Option<String> {
        let grouped =
            self.cgroups(process).and_then(|text| hierarchies::name(&text, hierarchies::unified(&text)));
        grouped.or_else(|| self.name(process))
    }

    /// Whether a process is still the one that a thread was seen in: its number may by now belong to another, or be of
    /// another PID namespace than ours. It is the same if it has a thread of that name, or lives in the cgroup of the
    /// socket, unless that is the root, where on some hosts everything lives.
    fn is_same(&self, process: u32, thread: &str, cgroup: Option<&str>) -> bool {
        let directory = self.directory(process);
        let has_thread = || {
            let tasks = fs::read_dir(directory.join("task")).ok();
            tasks.into_iter().flatten().flatten().any(|task| name(&task.path()).as_deref() == Some(thread))
        };
        let in_cgroup =
            || cgroup.is_some_and(|path| path != "/") && self.cgroup(process).as_deref() == cgroup;
        has_thread() || in_cgroup()
    }

    /// The path of a process's cgroup in the cgroup2 hierarchy.
    pub(super) fn cgroup(&self, process: u32) -> Option<String> {
        hierarchies::unified(&self.cgroups(process)?).map(str::to_owned)
    }

    /// The text of the `cgroup` of a process, if that is still the process that a thread was seen in.
    pub(super) fn cgroups_of(&self, process: u32, thread: &str, cgroup: Option<&str>) -> Option<String> {
        self.is_same(process, thread, cgroup).then(|| self.cgroups(process)).flatten()
    }

    /// The text of a process's `cgroup`: its places in all hierarchies.
    pub(super) fn cgroups(&self, process: u32) -> Option<String> {
        fs::read_to_string(self.directory(process).join("cgroup")).ok()
    }

    /// When a process began, in ticks since the machine did; 0 if that cannot be told.
    pub(super) fn began(&self, process: u32) -> u64 {
        let text = fs::read(self.directory(process).join("stat")).unwrap_or_default();
        // The name is in parentheses and may hold anything.
        let behind = text.iter().rposition(|byte| *byte == b')').map_or(0, |end| end + 1);
        let fields = String::from_utf8_lossy(&text[behind..]);
        // Field 22 of `proc_pid_stat(5)`; the third is the first behind the name.
        fields.split_ascii_whitespace().nth(22 - 3).and_then(|field| field.parse().ok()).unwrap_or_default()
    }
}

fn name(directory: &Path) -> Option<String> {
    let text = fs::read(directory.join("comm")).ok()?;
    Some(String::from_utf8_lossy(&text).trim_end().to_owned()).filter(|name| !name.is_empty())
}
