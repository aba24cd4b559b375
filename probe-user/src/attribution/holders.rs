//! Who holds a socket: by the descriptors of processes.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use super::process::{self, Procfs};

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub process: u32,
    /// Its name: that of its main thread.
    pub name: String,
}

/// The holders of these sockets, by the sockets' inodes. Of several the one that has run for longest, since who opened a
/// socket is older than the workers that it shares it with, but rather any other than systemd, which opens sockets for
/// those that it starts. What we may not look into (`CAP_SYS_PTRACE`) is not found.
#[must_use]
pub fn of_sockets(inodes: impl IntoIterator<Item = u64>) -> HashMap<u64, Holder> {
    of_sockets_in(&Procfs::default(), inodes)
}

/// The same where procfs is mounted elsewhere.
pub(super) fn of_sockets_in(procfs: &Procfs, inodes: impl IntoIterator<Item = u64>) -> HashMap<u64, Holder> {
    let mut inodes: HashSet<_> = inodes.into_iter().collect();
    let mut processes = procfs.processes();
    processes.sort_by_cached_key(|process| precedence(procfs, *process));
    let mut holders = HashMap::new();
    for process in processes {
        if inodes.is_empty() {
            break;
        }
        let mut name = None;
        for inode in sockets(&procfs.directory(process)) {
            if !inodes.remove(&inode) {
                continue;
            }
            name = name.or_else(|| procfs.name(process));
            if let Some(name) = &name {
                holders.insert(inode, Holder { process, name: name.clone() });
            }
        }
    }
    holders
}

/// Of those who share a socket the first is the one who opened it, unless that is systemd. The number alone does not tell:
/// numbers begin anew.
pub(super) fn precedence(procfs: &Procfs, process: u32) -> (bool, u64, u32) {
    let is_init = process::is_init(process, &procfs.name(process).unwrap_or_default());
    (is_init, procfs.began(process), process)
}

/// The descriptor by which a process holds a socket.
#[must_use]
pub fn descriptor(process: u32, inode: u64) -> Option<i32> {
    let directory = Procfs::default().directory(process);
    descriptors(&directory).find_map(|(descriptor, found)| (found == inode).then_some(descriptor))
}

/// The inodes of the sockets that a process holds.
pub(super) fn sockets(directory: &Path) -> impl Iterator<Item = u64> {
    descriptors(directory).map(|(_, inode)| inode)
}

/// The descriptors of the sockets that a process holds, with their inodes.
fn descriptors(directory: &Path) -> impl Iterator<Item = (i32, u64)> {
    let descriptors = fs::read_dir(directory.join("fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|descriptor| {
        let target = fs::read_link(descriptor.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((descriptor.file_name().to_str()?.parse().ok()?, inode))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn our_own_socket_is_ours() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let inode = fs::metadata(format!("/proc/self/fd/{descriptor}")).unwrap().ino();
        let holders = of_sockets([inode, u64::MAX]);
        assert_eq!(holders.len(), 1);
        assert_eq!(holders[&inode].process, std::process::id());
    }
}
