//! Control groups of a test's own: where a service is to be, since its cgroup tells its name.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::{poll, process::complain, tool};

const PREFIX: &str = "tp-";

/// A cgroup, removed when dropped. All processes in it must have ended by then.
#[derive(Debug)]
pub struct Cgroup {
    /// The topmost directory, which no other test uses.
    top: PathBuf,
    directory: PathBuf,
}

impl Cgroup {
    /// Makes one in the hierarchy of version 2, with a path that ends like this.
    pub fn new(path: &str) -> Result<Self> {
        static SWEPT: Once = Once::new();
        tool::demand_root()?;
        let root = cgroup2_root()?;
        SWEPT.call_once(|| sweep(&root));
        Self::below(&root, path)
    }

    fn below(root: &Path, path: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let top = root.join(format!("{PREFIX}{}-{number}", process::id()));
        let directory = top.join(path);
        // From here on it is removed whatever fails.
        let cgroup = Self { top, directory };
        fs::create_dir_all(&cgroup.directory)
            .with_context(|| format!("cannot make the cgroup {}", cgroup.directory.display()))?;
        Ok(cgroup)
    }

    /// Makes one in the hierarchy of version 1 that has a controller, if the host has one.
    pub fn of_version1(controller: &str, path: &str) -> Result<Option<Self>> {
        tool::demand_root()?;
        cgroup1_root(controller)?.map(|root| Self::below(&root, path)).transpose()
    }

    /// Makes those that it takes to have a controller account for a path: one of version 2, and one of version 1 if it is
    /// there that the controller is.
    pub fn accounting(controller: &str, path: &str) -> Result<Vec<Self>> {
        let unified = Self::new(path)?;
        if let Some(version1) = Self::of_version1(controller, path)? {
            return Ok(vec![version1, unified]);
        }
        let (root, directory) = (cgroup2_root()?, unified.directory.clone());
        let below: Vec<_> =
            directory.ancestors().skip(1).take_while(|above| above.starts_with(&root)).collect();
        // From the root on: a cgroup has what the one above hands on.
        for above in below.into_iter().rev() {
            fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"))
                .with_context(|| format!("cannot enable {controller} below {}", above.display()))?;
        }
        Ok(vec![unified])
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file to which a process writes to enter it.
    #[must_use]
    pub fn door(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Has a command start inside.
    pub fn enter(&self, command: &mut Command) -> Result<()> {
        let door = self.door();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&door)
            .with_context(|| format!("cannot open {}", door.display()))?;
        // SAFETY: between fork and exec only a system call is made. Zero stands for who writes.
        unsafe {
            command.pre_exec(move || (&file).write_all(b"0"));
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was waited for may be among the cgroup's for a moment longer.
        let removed = poll::until("a cgroup to be empty", || Ok(remove(&self.top).ok()));
        if let Err(error) = removed {
            complain(&format!("the cgroup {} could not be removed: {error:#}", self.top.display()));
        }
    }
}

/// A hierarchy of version 1 without controllers, as a host has it that runs both; unmounted when dropped.
#[derive(Debug)]
pub struct Hierarchy {
    point: TempDir,
}

impl Hierarchy {
    /// Mounts one.
    pub fn mount() -> Result<Self> {
        tool::demand_root()?;
        let point = TempDir::with_prefix("traffic-probe-cgroup-")?;
        let options = format!("none,name={PREFIX}{}", process::id());
        let none = Some("cgroup");
        mount(none, point.path(), none, MsFlags::empty(), Some(options.as_str()))
            .context("cannot mount a hierarchy of cgroup v1")?;
        Ok(Self { point })
    }

    /// Makes a cgroup in it, with a path that ends like this.
    pub fn cgroup(&self, path: &str) -> Result<Cgroup> {
        Cgroup::below(self.point.path(), path)
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        if let Err(error) = umount2(self.point.path(), MntFlags::empty()) {
            complain(&format!(
                "the hierarchy at {} could not be unmounted: {error}",
                self.point.path().display()
            ));
        }
    }
}

/// Where the hierarchy of version 2 is mounted.
fn cgroup2_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (point, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    });
    found.context("no cgroup2 hierarchy is mounted: `cargo xtask setup` mounts one")
}

/// Where the hierarchy of version 1 is mounted that has a controller, if there is one.
fn cgroup1_root(controller: &str) -> Result<Option<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let has = fields.get(3)?.split(',').any(|option| option == controller);
        (has && fields[2] == "cgroup").then(|| PathBuf::from(fields[1]))
    }))
}

/// Removes a cgroup and those below it.
pub(crate) fn remove(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

/// Removes what a run left that was killed.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((owner, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists() {
            let _ = remove(&entry.path());
        }
    }
}
