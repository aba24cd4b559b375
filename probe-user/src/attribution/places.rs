//! Which cgroups are a service's own, so that what they use is what it uses.
//!
//! Own is a cgroup whose path tells the name by which a service goes: a container's, or a unit's, from the part that tells it
//! on. A session or the root is shared, and so nobody's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use probe_common::service::ServiceKey;

use super::{Attribution, cgroup_mount, cgroup_name, hierarchies, pace::Known, text};

/// The directories of the cgroups that are a service's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// In the hierarchy of version 2.
    pub unified: Option<PathBuf>,
    /// In the hierarchy of version 1 that accounts CPU time, where there is one.
    pub cpu: Option<PathBuf>,
    /// In the hierarchy of version 1 that accounts memory, where there is one.
    pub memory: Option<PathBuf>,
}

impl Attribution {
    /// The services that have names.
    pub fn named(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<str>)> {
        self.names.iter().map(|(key, name)| (key, &name.identity.service))
    }

    /// How many services have names.
    #[must_use]
    pub fn named_count(&self) -> usize {
        self.names.len()
    }

    /// The cgroups that are a service's own; `None` within if there are none. None if it cannot be told yet: ask again
    /// at the next pass.
    pub fn place(&mut self, key: &ServiceKey, now: Instant) -> Option<Option<Place>> {
        let path = match self.cgroups.path(key.cgroup, now, now) {
            Known::NotYet => return None,
            Known::Yes(path) => path.map(str::to_owned),
        };
        Some(self.place_at(key, path.as_deref()))
    }

    fn place_at(&self, key: &ServiceKey, path: Option<&str>) -> Option<Place> {
        let root = self.cgroups.root();
        let directory = |own: &str| root.join(own.trim_start_matches('/'));
        let of_process = self.cgroups_of_process(key, path);
        let name = match &of_process {
            Some(of_process) => hierarchies::name(of_process, path),
            None => path.and_then(cgroup_name::of_path),
        }?;
        let unified = path.and_then(|path| cgroup_name::own_part(path, &name)).map(directory);
        let version1 = |controller| {
            let path = hierarchies::of_controller(of_process.as_deref()?, controller)?;
            let own = cgroup_name::own_part(path, &name)?;
            Some(cgroup_mount::cgroup1_root(controller)?.join(own.trim_start_matches('/')))
        };
        let place = Place { unified, cpu: version1("cpuacct"), memory: version1("memory") };
        (place != Place::default()).then_some(place)
    }

    /// The text of the `cgroup` file of a process of the service: of the one that the kernel side saw, or of any in its
    /// cgroup. It matters where there are hierarchies of version 1 alone.
    fn cgroups_of_process(&self, key: &ServiceKey, path: Option<&str>) -> Option<String> {
        let seen = (key.process != 0)
            .then(|| self.procfs.cgroups_of(key.process, &text(&key.command), path))
            .flatten();
        seen.or_else(|| {
            let path = path.filter(|path| cgroup_name::of_path(path).is_some())?;
            let any = first_process(&self.cgroups.root().join(path.trim_start_matches('/')))?;
            self.procfs.cgroups(any)
        })
    }
}

fn first_process(cgroup: &Path) -> Option<u32> {
    fs::read_to_string(cgroup.join("cgroup.procs")).ok()?.lines().next()?.parse().ok()
}
