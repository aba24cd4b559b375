//! Where in a cluster a service runs.

/// How many characters the API server makes up for the end of a name, and of which: no vowels, and no digits that look like
/// letters, so that it makes no words (`SimpleNameGenerator` and `rand.String` of Kubernetes).
const MADE_UP: usize = 5;
const ALPHABET: &str = "bcdfghjklmnpqrstvwxz2456789";

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

    /// Whether no other pod will come by this name: the API server made its end up, or it is a UID. A `StatefulSet`'s pods come
    /// again, and where the pod is no label, others of the workload do.
    #[must_use]
    pub fn is_of_one_pod(&self) -> bool {
        let made_up = |end: &str| end.len() == MADE_UP && end.chars().all(|one| ALPHABET.contains(one));
        let groups = || self.pod.split('-').map(str::len);
        let is_uid = groups().eq([8, 4, 4, 4, 12])
            && self.pod.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        is_uid || self.pod.rsplit_once('-').is_some_and(|(_, end)| made_up(end))
    }

    /// The parts, to be written, in the same order.
    pub(crate) fn parts_mut(&mut self) -> [&mut String; 5] {
        [&mut self.namespace, &mut self.workload, &mut self.pod, &mut self.container, &mut self.node]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_made_up_are_one_pods() {
        let is_of_one = |pod: &str| Place { pod: pod.into(), ..Place::default() }.is_of_one_pod();
        for pod in ["web-6d9f-x7k2p", "agent-zz4vh", "job-0-9lq5d", "1f2e3d4c-0000-1111-2222-333344445555"] {
            assert!(is_of_one(pod), "{pod}");
        }
        for pod in [
            "",
            "db-0",
            "db-12345",
            "web",
            "my-nginx",
            "x7k2p",
            "etcd-node1",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert!(!is_of_one(pod), "{pod}");
        }
    }
}
