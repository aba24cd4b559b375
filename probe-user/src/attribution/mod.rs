//! Who a service is: from what the kernel knows of a socket to a name that people use.
//!
//! The cgroup tells of containers and systemd units; where it does not (a session, the root), the process does.
//! A name, once given, stays: if it changed, a service's counters would jump from one series to another. So a name
//! is given only when all that could tell was asked, and asking is bounded: see [`pace`].

mod cgroup_mount;
mod cgroup_name;
mod cgroup_news;
mod cgroup_tree;
mod gone_pods;
mod hierarchies;
pub mod holders;
mod listeners;
mod own_cgroups;
mod pace;
mod pod_cgroup;
mod pods;
mod process;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use probe_common::service::{OTHER, Role, ServiceEntry, ServiceKey};

pub use cgroup_mount::{NoCgroup2, cgroup1_is_mounted, cgroup2_root};

use crate::{
    causes::with_causes,
    identity::{Identity, Kept},
    kubernetes::Cluster,
};
use cgroup_tree::CgroupTree;
use listeners::{Listeners, Opened};
pub use own_cgroups::OwnCgroups;
use pace::Known;
use process::Procfs;

/// A name that nobody asked for in this time is forgotten, when room is needed.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// From this many names on, forgetting is worth a look; doubled when it was in vain.
const FEW_NAMES: usize = 8192;

/// Gives services their names.
#[derive(Debug)]
pub struct Attribution {
    cgroups: CgroupTree,
    procfs: Procfs,
    listeners: Listeners,
    /// The Kubernetes cluster that this node is part of.
    cluster: Option<Cluster>,
    names: HashMap<ServiceKey, Name>,
    /// Keys without a name yet, with the moment they were first asked for.
    waiting: HashMap<ServiceKey, Instant>,
    look_at: usize,
}

#[derive(Debug)]
struct Name {
    identity: Identity,
    asked: Instant,
    /// The cgroup of the only pod that will ever have this name, if it is such a pod's.
    pod: Option<Arc<str>>,
}

impl Attribution {
    /// Attribution on a node whose cgroup2 hierarchy is mounted at `cgroup2`: see [`cgroup2_root`].
    #[must_use]
    pub fn new(cgroup2: PathBuf) -> Self {
        Self::with_procfs(cgroup2, Procfs::default())
    }

    fn with_procfs(cgroup2: PathBuf, procfs: Procfs) -> Self {
        Self {
            cgroups: CgroupTree::new(cgroup2),
            procfs,
            listeners: Listeners::default(),
            cluster: None,
            names: HashMap::new(),
            waiting: HashMap::new(),
            look_at: FEW_NAMES,
        }
    }

    /// Has the kernel tell of cgroups as they come, so that those which live for less than a pass are known.
    ///
    /// # Errors
    /// Why it does not.
    pub fn listen(&mut self) -> Result<(), String> {
        self.cgroups.listen().map_err(|error| {
            format!("the kernel does not tell of cgroups that come and go (inotify): {}", with_causes(&error))
        })
    }

    /// The same on a node of a Kubernetes cluster, if it is one.
    #[must_use]
    pub fn in_cluster(self, cluster: Option<Cluster>) -> Self {
        Self { cluster, ..self }
    }

    /// Takes a name as given by an earlier agent, of whose services this one has the counters.
    pub fn recall(&mut self, key: ServiceKey, kept: Kept) {
        let Kept { identity, pod } = kept;
        self.names.insert(key, Name { identity, asked: Instant::now(), pod });
    }

    /// Who a service is. None if what could tell was looked at a moment ago, before the service was there: ask
    /// again at the next pass, a second later at most. Its counters are totals, so nothing is lost by waiting; a
    /// guess now would have to stay.
    pub fn name(&mut self, key: &ServiceKey, entry: &ServiceEntry) -> Option<Identity> {
        self.name_at(Instant::now(), key, *entry)
    }

    fn name_at(&mut self, now: Instant, key: &ServiceKey, entry: ServiceEntry) -> Option<Identity> {
        if entry.index == OTHER {
            return Some(Identity::named("other"));
        }
        if let Some(known) = self.names.get_mut(key) {
            known.asked = now;
            return Some(known.identity.clone());
        }
        let since = *self.waiting.entry(*key).or_insert(now);
        let Known::Yes(identity) = self.identify(now, since, key, entry) else {
            return None;
        };
        self.waiting.remove(key);
        self.forget_unused(now);
        let pod = self.find_pod(key, &identity, now);
        self.names.insert(*key, Name { identity: identity.clone(), asked: now, pod });
        Some(identity)
    }

    /// Asks the cgroup, then the process; none if neither tells.
    fn resolve(
        &mut self,
        now: Instant,
        since: Instant,
        key: &ServiceKey,
        entry: ServiceEntry,
    ) -> Known<Option<String>> {
        let cgroup = match self.cgroups.path(key.cgroup, now, since) {
            Known::NotYet => return Known::NotYet,
            Known::Yes(cgroup) => cgroup.map(str::to_owned),
        };
        let command = text(&key.command);
        let of_socket = cgroup.as_deref().and_then(cgroup_name::of_path);
        // The process may know more: on a host with cgroup v1 too, of a container; and where it was moved after it had
        // opened the socket, of its unit.
        let asked = if key.process == 0 && of_socket.is_none() { entry.process } else { key.process };
        let asked = (asked != 0 && !process::is_init(asked, &command)).then_some(asked);
        let of_process = asked.and_then(|process| self.procfs.group(process, &command, cgroup.as_deref()));
        if let Some(name) = of_process.or(of_socket) {
            return Known::Yes(Some(name));
        }
        if !command.is_empty() && !process::is_init(entry.process, &command) {
            // The name of a main thread is the process's own.
            let leader = (key.process != 0)
                .then(|| self.procfs.leader(key.process, &command, cgroup.as_deref()))
                .flatten();
            return Known::Yes(Some(leader.unwrap_or(command)));
        }
        // A socket that is older than the probe, or that systemd opened for another: the one who holds it tells.
        match Role::from_key(key.role) {
            Some(Role::Server) => {
                let by_init = (!command.is_empty()).then_some(entry.process);
                let port = (key.transport(), key.port);
                let opened = Opened { port, cgroup: cgroup.as_deref(), by_init };
                match self.listeners.owner(&self.procfs, opened, now, since) {
                    Known::NotYet => Known::NotYet,
                    Known::Yes(owner) => {
                        Known::Yes(owner.or_else(|| (!command.is_empty()).then_some(command)))
                    }
                }
            }
            _ => Known::Yes((!command.is_empty()).then_some(command)),
        }
    }

    /// Services come and go; memory stays bounded by those that the kernel's table holds.
    fn forget_unused(&mut self, now: Instant) {
        if self.names.len() + self.waiting.len() < self.look_at {
            return;
        }
        let recent = |moment: Instant| now.saturating_duration_since(moment) < FORGET_AFTER;
        self.names.retain(|_, name| recent(name.asked));
        self.waiting.retain(|_, since| recent(*since));
        self.look_at = (self.names.len() * 2).max(FEW_NAMES);
    }
}

/// The text of a kernel's string: up to the first zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests;
