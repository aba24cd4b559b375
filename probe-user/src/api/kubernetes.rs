//! Where in a cluster a service runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{place::Place, snapshot::ServiceId};

/// The labels that a service has on a node of a Kubernetes cluster, beside its name and port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Kubernetes {
    /// The pod's namespace; null where it runs in no pod, where the API server does not tell, or where it was not asked for.
    pub namespace: Option<String>,
    /// What the pod belongs to: the Deployment, `StatefulSet`, `DaemonSet`, `CronJob` or Job, or else the pod itself; null likewise.
    pub workload: Option<String>,
    /// The pod; its UID where the API server does not tell; null likewise.
    pub pod: Option<String>,
    /// The container in it; null likewise.
    pub container: Option<String>,
    /// The node that the agent runs on; null if it was not asked for.
    pub node: Option<String>,
}

impl Kubernetes {
    /// None if the agent runs on no node of a cluster.
    pub(super) fn of(id: &ServiceId) -> Option<Self> {
        let [namespace, workload, pod, container, node] = Place::values(id.place()?).map(known);
        Some(Self { namespace, workload, pod, container, node })
    }
}

/// What is not known is empty, and has no label.
fn known(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}
