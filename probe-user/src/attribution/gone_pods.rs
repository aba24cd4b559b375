//! Pods that are gone: the kubelet removes a pod's cgroup behind the last of its containers, and no other pod's will be at
//! its place, which is named by the pod's UID. A container's says less: the pod may start another under the same name.

use std::{sync::Arc, time::Instant};

use probe_common::service::ServiceKey;

use super::{Attribution, pace::Known, pod_cgroup};
use crate::identity::Identity;

impl Attribution {
    /// Whether a service is of a pod that is gone, by whose names nobody will come again.
    #[must_use]
    pub fn is_gone(&self, key: &ServiceKey) -> bool {
        let gone = |pod: Arc<str>| {
            let directory = self.cgroups.root().join(pod.trim_start_matches('/'));
            // What cannot be looked at may be there.
            matches!(directory.try_exists(), Ok(false))
        };
        self.pod_of(key).is_some_and(gone)
    }

    /// The cgroup of a service's pod, if nobody but that pod has the service's names.
    #[must_use]
    pub fn pod_of(&self, key: &ServiceKey) -> Option<Arc<str>> {
        self.names.get(key)?.pod.clone()
    }

    /// Forgets a service that will not come again.
    pub fn forget(&mut self, key: &ServiceKey) {
        self.names.remove(key);
    }

    /// The same for one that has just been named, and so its cgroup been looked at.
    pub(super) fn find_pod(
        &mut self,
        key: &ServiceKey,
        identity: &Identity,
        now: Instant,
    ) -> Option<Arc<str>> {
        identity.place.as_ref().filter(|place| place.is_of_one_pod())?;
        match self.cgroups.path(key.cgroup, now, now) {
            Known::Yes(Some(path)) => pod_cgroup::outermost(path).map(Into::into),
            _ => None,
        }
    }
}
