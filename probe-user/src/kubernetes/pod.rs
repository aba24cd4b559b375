//! What the probe reads of a pod: the few fields that name it, of an object that has hundreds.

use std::borrow::Cow;

use kube::{
    Resource,
    core::{NamespaceResourceScope, ObjectMeta},
};
use serde::Deserialize;

use super::workload;

/// The annotation by which the API server's picture of a static pod tells the UID that the kubelet knows it by.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A pod, as the API server sends it; what is not here is passed over.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Pod {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(rename = "containerStatuses")]
    containers: Vec<ContainerStatus>,
    #[serde(rename = "initContainerStatuses")]
    init: Vec<ContainerStatus>,
    #[serde(rename = "ephemeralContainerStatuses")]
    ephemeral: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Deserialize)]
struct ContainerStatus {
    name: String,
    /// `containerd://`, `cri-o://` or `docker://` and the id; empty until there is a container.
    #[serde(rename = "containerID", default)]
    id: String,
}

/// The names of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodNames {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) workload: String,
    /// The name of its container, if it has just one.
    pub(super) only_container: Option<String>,
}

impl Pod {
    /// The UIDs by which its cgroups may be known.
    pub(super) fn uids(&self) -> impl Iterator<Item = &str> {
        let annotations = self.metadata.annotations.as_ref();
        let mirrored = annotations.and_then(|annotations| annotations.get(MIRROR));
        self.metadata.uid.iter().chain(mirrored).map(String::as_str)
    }

    pub(super) fn names(&self) -> PodNames {
        let Spec { containers, init_containers, ephemeral_containers } = &self.spec;
        let mut all = containers.iter().chain(init_containers).chain(ephemeral_containers);
        let only = all.next().filter(|_| all.next().is_none());
        PodNames {
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            name: self.metadata.name.clone().unwrap_or_default(),
            workload: workload::of(&self.metadata),
            only_container: only.map(|container| container.name.clone()),
        }
    }

    /// Its containers that there are: id and name.
    pub(super) fn containers(&self) -> impl Iterator<Item = (&str, &str)> {
        let Status { containers, init, ephemeral } = &self.status;
        let all = containers.iter().chain(init).chain(ephemeral);
        all.filter_map(|status| Some((status.id.split_once("://")?.1, status.name.as_str())))
    }
}

impl Resource for Pod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(text: serde_json::Value) -> Pod {
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn containers_of_every_kind_are_known_by_id() {
        let pod = pod(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
            "spec": {"nodeName": "node1", "containers": [{"name": "web", "image": "x"}, {"name": "proxy"}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "web", "containerID": "containerd://aa", "ready": true},
                    {"name": "proxy", "containerID": "cri-o://bb"},
                    {"name": "late"},
                ],
                "initContainerStatuses": [{"name": "init", "containerID": "docker://cc"}],
                "ephemeralContainerStatuses": [{"name": "debug", "containerID": "containerd://dd"}],
            },
        }));
        let containers: Vec<_> = pod.containers().collect();
        assert_eq!(containers, [("aa", "web"), ("bb", "proxy"), ("cc", "init"), ("dd", "debug")]);
        assert_eq!(pod.names().only_container, None);
    }

    #[test]
    fn of_one_container_the_name_is_known_before_it_runs() {
        let pod = pod(json!({"metadata": {"uid": "u1"}, "spec": {"containers": [{"name": "web"}]}}));
        assert_eq!(pod.names().only_container.as_deref(), Some("web"));
        assert_eq!(pod.containers().count(), 0);
    }

    #[test]
    fn a_static_pod_has_the_uid_of_its_file_too() {
        let pod = pod(json!({
            "metadata": {"uid": "u1", "annotations": {"kubernetes.io/config.mirror": "0123"}},
        }));
        assert_eq!(pod.uids().collect::<Vec<_>>(), ["u1", "0123"]);
    }
}
