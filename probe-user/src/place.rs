//! Where in a cluster a service runs.

/// A place in a Kubernetes cluster: the identity labels that a service has there beside its name and port.
///
/// A part that is not known, or that was not asked for, is empty, and its label left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The pod's namespace.
    pub namespace: String,
    /// What the pod belongs to: the Deployment, `StatefulSet`, `DaemonSet`, `CronJob` or Job, or else the pod itself.
    pub workload: String,
    /// The pod.
    pub pod: String,
    /// The container in it.
    pub container: String,
    /// The node.
    pub node: String,
}

impl Place {
    /// The labels, in the order in which they are shown.
    pub const LABELS: [&str; 5] = ["namespace", "workload", "pod", "container", "node"];

    /// The labels' values, in the order of [`Self::LABELS`].
    #[must_use]
    pub fn values(&self) -> [&str; 5] {
        [&self.namespace, &self.workload, &self.pod, &self.container, &self.node]
    }

    /// The parts, to be written, in the same order.
    pub(crate) fn parts_mut(&mut self) -> [&mut String; 5] {
        [&mut self.namespace, &mut self.workload, &mut self.pod, &mut self.container, &mut self.node]
    }
}
