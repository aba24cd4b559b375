//! The network namespaces of this machine, and doing something in one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::linux::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::statfs::{NSFS_MAGIC, fstatfs},
};

/// Where `ip netns` and container runtimes keep namespaces that need not have a process.
const NAMED: &str = "/run/netns";

/// A network namespace, which stays as long as this is held.
#[derive(Debug)]
pub struct Namespace(File);

/// That of this thread, by its inode; 0 if it cannot be told.
#[must_use]
pub fn own() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.st_ino())
}

/// The namespaces that can be seen, each once: those of processes, and those with a name. What cannot be opened (a
/// process that has ended, or one that we may not look into) is not among them.
#[must_use]
pub fn all() -> Vec<Namespace> {
    let mut found = BTreeMap::new();
    for path in of_processes().into_iter().chain(named()) {
        let Ok(file) = File::open(path) else { continue };
        // A name that is being removed is an empty file for a moment.
        if fstatfs(&file).is_ok_and(|found| found.filesystem_type() != NSFS_MAGIC) {
            continue;
        }
        let Ok(metadata) = file.metadata() else { continue };
        found.entry((metadata.st_dev(), metadata.st_ino())).or_insert(Namespace(file));
    }
    found.into_values().collect()
}

/// A namespace for each process, of which only the first of several processes is opened.
fn of_processes() -> Vec<PathBuf> {
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        let path = entry.path().join("ns/net");
        if is_process && let Ok(namespace) = fs::read_link(&path) {
            seen.entry(namespace).or_insert(path);
        }
    }
    seen.into_values().collect()
}

fn named() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(NAMED)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

impl Namespace {
    /// Does something inside, on a thread of its own, since a thread is in one namespace at a time.
    ///
    /// # Errors
    /// Where the namespace may not be entered: that takes `CAP_SYS_ADMIN`.
    pub fn inside<T: Send>(&self, what: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET)?;
                Ok(what())
            });
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread failed: this is a bug")))
        })
    }
}
