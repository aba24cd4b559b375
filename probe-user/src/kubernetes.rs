//! Kubernetes: which pod, container and workload a cgroup belongs to.
//!
//! A watch on the pods of this node, and of no other, keeps a [`directory`] of them up to date. It is the only
//! question that the API server is asked: what a pod belongs to is told by the pod itself ([`workload`]).

mod directory;
mod log;
mod owner;
mod peers;
mod pod;
mod pods;
mod watch;
mod workload;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use directory::{Directory, Found};
pub use owner::Owner;
pub(crate) use peers::PeerAnswer;
pub use peers::PeerDirectory;
use tokio::runtime::Runtime;

use crate::{
    place::Place,
    settings::{self, ClusterAccess, ClusterSettings, PlaceLabel},
};

/// The cluster that this node is part of.
#[derive(Clone, Debug)]
pub struct Cluster {
    directory: Arc<Mutex<Directory>>,
    labels: Vec<PlaceLabel>,
    node: String,
}

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Where it runs; the workload for the service's name.
    Known {
        /// What the pod belongs to.
        workload: String,
        /// The labels.
        place: Arc<Place>,
    },
    /// The API server may be about to tell.
    NotYet,
    /// It is no pod of this node that the API server knows, or there is no API server to ask.
    Unknown,
}

impl Cluster {
    /// Begins to watch this node's pods on `runtime`; none where this is no node of a cluster, or was not to be looked
    /// for.
    #[must_use]
    pub fn join(settings: &ClusterSettings, runtime: &Runtime) -> Option<Self> {
        if !is_in_cluster(settings.access) {
            return None;
        }
        let cluster = Self::new(settings.node.clone(), settings.labels.clone());
        runtime.spawn(pods::follow(settings.node.clone(), Arc::clone(&cluster.directory)));
        Some(cluster)
    }

    fn new(node: String, labels: Vec<PlaceLabel>) -> Self {
        let directory = Arc::new(Mutex::new(Directory::new(Instant::now())));
        Self { directory, labels, node }
    }

    /// A cluster whose API server cannot be asked.
    #[cfg(test)]
    pub(crate) fn without_server(node: &str) -> Self {
        let cluster = Self::new(node.into(), PlaceLabel::ALL.into());
        cluster.directory().conclude_without_server();
        cluster
    }

    /// A cluster whose API server told of pods, each as JSON.
    #[cfg(test)]
    pub(crate) fn with_pods(node: &str, pods: &[serde_json::Value]) -> Self {
        let cluster = Self::new(node.into(), PlaceLabel::ALL.into());
        cluster.directory().begin_list();
        for pod in pods {
            let pod: pod::Pod = serde_json::from_value(pod.clone()).expect("a pod");
            cluster.directory().apply(&pod);
        }
        cluster.directory().end_list(Instant::now());
        cluster
    }

    /// Who the container is that has this id, in the pod of this UID; asked for since `since`.
    pub(crate) fn container(
        &self,
        uid: &str,
        container: Option<&str>,
        since: Instant,
        now: Instant,
    ) -> Answer {
        match self.directory().find(uid, container, since, now) {
            Found::Container { pod, container } => Answer::Known {
                workload: pod.workload.clone(),
                place: self.selected(Place {
                    namespace: pod.namespace.clone(),
                    workload: pod.workload.clone(),
                    pod: pod.name.clone(),
                    container,
                    node: String::new(),
                }),
            },
            Found::NotYet => Answer::NotYet,
            Found::Nothing => Answer::Unknown,
        }
    }

    /// The place of a pod of which only the cgroup tells.
    pub(crate) fn unknown_pod(&self, uid: &str, container: &str) -> Arc<Place> {
        self.selected(Place { pod: uid.to_owned(), container: container.to_owned(), ..Place::default() })
    }

    /// The place of what runs on the node and in no pod.
    pub(crate) fn host(&self) -> Arc<Place> {
        self.selected(Place::default())
    }

    /// The place with just the labels that were asked for.
    fn selected(&self, mut place: Place) -> Arc<Place> {
        place.node.clone_from(&self.node);
        for (label, part) in PlaceLabel::ALL.into_iter().zip(place.parts_mut()) {
            if !self.labels.contains(&label) {
                part.clear();
            }
        }
        Arc::new(place)
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        locked(&self.directory)
    }
}

/// What watches keep is whole whenever they let go of it.
fn locked<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this is a node of a cluster.
fn is_in_cluster(access: ClusterAccess) -> bool {
    match access {
        ClusterAccess::On => true,
        ClusterAccess::Off => false,
        ClusterAccess::Auto => settings::in_pod(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_labels_that_were_asked_for_are_given() {
        let labels = vec![PlaceLabel::Namespace, PlaceLabel::Workload];
        let cluster = Cluster::new("node1".into(), labels);
        let place = cluster.unknown_pod("1f2e", "0123");
        assert_eq!(*place, Place::default());
        let all = Cluster::new("node1".into(), PlaceLabel::ALL.into());
        assert_eq!(all.unknown_pod("1f2e", "0123").values(), ["", "", "1f2e", "0123", "node1"]);
        assert_eq!(all.host().values(), ["", "", "", "", "node1"]);
    }
}
