//! The cgroups of the cluster: one for its daemons, and the kubelet's with every pod.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// That of the daemons.
const DAEMONS: &str = "traffic-probe-cluster";
/// The kubelet's; its name is the kubelet's.
const PODS: &str = "kubepods";

/// How long processes that were killed may take to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the machine's cgroups are.
pub(super) struct Cgroups {
    /// The hierarchy of version 2, which can kill.
    unified: PathBuf,
    /// Those of version 1 beside it, which have to be cleared away too.
    others: Vec<PathBuf>,
}

impl Cgroups {
    pub(super) fn find() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("could not read /proc/self/mounts")?;
        let of = |kind: &str| -> Vec<PathBuf> {
            let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            fields.filter(|fields| fields.get(2) == Some(&kind)).map(|fields| fields[1].into()).collect()
        };
        let unified = of("cgroup2").into_iter().next().context(
            "no cgroup2 hierarchy is mounted: mount one by `mount -t cgroup2 none /sys/fs/cgroup`, or at another place",
        )?;
        Ok(Self { unified, others: of("cgroup") })
    }

    /// Whether there are any, ours or another kubelet's.
    pub(super) fn exist(&self) -> bool {
        [DAEMONS, PODS].iter().any(|name| self.unified.join(name).exists())
    }

    pub(super) fn make(&self) -> Result<()> {
        let directory = self.unified.join(DAEMONS);
        fs::create_dir(&directory).with_context(|| format!("could not create {}", directory.display()))
    }

    /// Moves this process, and so all that it will start, to that of the daemons.
    pub(super) fn enter(&self) -> Result<()> {
        let file = self.unified.join(DAEMONS).join("cgroup.procs");
        fs::write(&file, "0").with_context(|| format!("could not write to {}", file.display()))
    }

    /// Kills all in them, and removes them.
    pub(super) fn end(&self) -> Result<()> {
        if !self.unified.join(DAEMONS).exists() {
            // A kubelet that is not ours is left alone.
            return Ok(());
        }
        for name in [DAEMONS, PODS] {
            kill(&self.unified.join(name))?;
        }
        for hierarchy in self.others.iter().chain([&self.unified]) {
            // The daemons' last: as long as it is there, the rest is known to be ours.
            for name in [PODS, DAEMONS] {
                remove(&hierarchy.join(name));
            }
        }
        if self.exist() {
            bail!("some cgroups below {} could not be removed: run this again", self.unified.display());
        }
        Ok(())
    }
}

/// Kills every process in a cgroup and below, and waits until they are gone.
fn kill(cgroup: &Path) -> Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    let file = cgroup.join("cgroup.kill");
    fs::write(&file, "1")
        .with_context(|| format!("could not write to {} (since kernel 5.14)", file.display()))?;
    let started = Instant::now();
    let events = cgroup.join("cgroup.events");
    while fs::read_to_string(&events).is_ok_and(|text| text.contains("populated 1")) {
        if started.elapsed() > PATIENCE {
            bail!("processes in {} do not die; `cat {0}/cgroup.procs` lists them", cgroup.display());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Removes a cgroup with those below; what cannot be removed is seen by who looks.
fn remove(cgroup: &Path) {
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&entry.path());
    }
    let _ = fs::remove_dir(cgroup);
}
