//! Names on a node of a Kubernetes cluster: the cgroup tells the pod and the container, the API server who they are.

use std::{sync::Arc, time::Instant};

use probe_common::service::{ServiceEntry, ServiceKey};

use super::{Attribution, cgroup_name, pace::Known, pod_cgroup, process, text};
use crate::{
    identity::Identity,
    kubernetes::{Answer, Cluster},
};

impl Attribution {
    /// Asks the cluster if there is one, and all else then.
    pub(super) fn identify(
        &mut self,
        now: Instant,
        since: Instant,
        key: &ServiceKey,
        entry: ServiceEntry,
    ) -> Known<Identity> {
        let Some(cluster) = self.cluster.clone() else {
            return self.without_pod(now, since, key, entry).map(|service| Identity { service, place: None });
        };
        let Known::Yes(paths) = self.paths(now, since, key, entry) else { return Known::NotYet };
        let pods: Vec<_> = paths.iter().flat_map(|path| pod_cgroup::of_path(path)).collect();
        // Of a cluster in a pod the inner pod's names are nobody's whom our API server knows.
        for pod in &pods {
            match cluster.container(&pod.uid(), pod.container, since, now) {
                Answer::Known { workload, place } => {
                    return Known::Yes(Identity { service: workload.into(), place: Some(place) });
                }
                Answer::NotYet => return Known::NotYet,
                Answer::Unknown => {}
            }
        }
        match pods.first() {
            Some(pod) => Known::Yes(self.by_cgroup_alone(&cluster, *pod, key, entry)),
            None => self
                .without_pod(now, since, key, entry)
                .map(|service| Identity { service, place: Some(cluster.host()) }),
        }
    }

    /// A pod that nobody knows the names of: its process has one.
    fn by_cgroup_alone(
        &self,
        cluster: &Cluster,
        pod: pod_cgroup::PodCgroup<'_>,
        key: &ServiceKey,
        entry: ServiceEntry,
    ) -> Identity {
        let container = pod.container.map(cgroup_name::shortened).unwrap_or_default();
        let command = text(&key.command);
        let process = (!command.is_empty() && !process::is_init(entry.process, &command)).then(|| {
            let leader =
                (key.process != 0).then(|| self.procfs.leader(key.process, &command, None)).flatten();
            leader.unwrap_or(command)
        });
        let service = process.unwrap_or_else(|| container.to_owned()).into();
        Identity { service, place: Some(cluster.unknown_pod(&pod.uid(), container)) }
    }

    fn without_pod(
        &mut self,
        now: Instant,
        since: Instant,
        key: &ServiceKey,
        entry: ServiceEntry,
    ) -> Known<Arc<str>> {
        self.resolve(now, since, key, entry).map(|name| name.unwrap_or_else(|| "unknown".into()).into())
    }

    /// The paths of a service's cgroups that may tell of a pod: the socket's own, and where hierarchies of version 1 may
    /// know more, those of its process.
    fn paths(
        &mut self,
        now: Instant,
        since: Instant,
        key: &ServiceKey,
        entry: ServiceEntry,
    ) -> Known<Vec<String>> {
        let cgroup = match self.cgroups.path(key.cgroup, now, since) {
            Known::NotYet => return Known::NotYet,
            Known::Yes(cgroup) => cgroup.map(str::to_owned),
        };
        if cgroup.as_deref().is_some_and(|path| pod_cgroup::of_path(path).next().is_some()) {
            return Known::Yes(cgroup.into_iter().collect());
        }
        let process = if key.process == 0 { entry.process } else { key.process };
        let of_process = self.procfs.paths(process, &text(&key.command), cgroup.as_deref());
        Known::Yes(cgroup.into_iter().chain(of_process).collect())
    }
}
