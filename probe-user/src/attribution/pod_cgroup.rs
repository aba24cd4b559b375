//! The pods and containers that a cgroup's path tells of, as the kubelet and its container runtimes lay them out.
//!
//! The kubelet makes a cgroup for each pod, `kubepods/burstable/podUID` with the driver `cgroupfs` and
//! `kubepods-burstable-podUID.slice` with `systemd` (dashes of the UID become underscores there, and the names of the
//! slices above come first); the runtime makes one for each container in it.

use super::cgroup_name;

/// A pod's place in the tree of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PodCgroup<'a> {
    /// The pod's UID, of 36 characters; of a pod from a file of the kubelet (a static one) 32 digits. With the driver
    /// `systemd` it has underscores.
    uid: &'a str,
    /// The container's whole id; none in the pod's own cgroup.
    pub(super) container: Option<&'a str>,
}

impl PodCgroup<'_> {
    /// The pod's UID as the API has it.
    pub(super) fn uid(&self) -> String {
        self.uid.replace('_', "-")
    }
}

/// Characters of a UID that the API server gave; one of a file's has fewer.
const UID_OF_A_POD: usize = 36;

/// The pods of a path, the innermost first: with kind, or a cluster within a pod, there are several.
pub(super) fn of_path(path: &str) -> impl Iterator<Item = PodCgroup<'_>> {
    let mut below = None;
    // A container of a container is not Kubernetes' affair: of those in a pod the outermost is the pod's.
    path.rsplit('/').filter_map(move |part| {
        let Some(uid) = uid(part) else {
            below = cgroup_name::full_container_id(part).or(below);
            return None;
        };
        // As containerd without systemd has been seen to write it: `slice:cri-containerd:id`.
        let container = part.contains(':').then(|| cgroup_name::full_container_id(part)).flatten();
        Some(PodCgroup { uid, container: container.or(below.take()) })
    })
}

/// The path of the outermost pod's own cgroup: with it go all that are within.
///
/// None for a path that names no pod, a static pod, whose next one has the same place, or a container in the pod's place.
pub(super) fn outermost(path: &str) -> Option<&str> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let pod = ends.map(|end| &path[..end]).find(|above| {
        let (_, part) = above.rsplit_once('/').unwrap_or(("", above));
        uid(part).is_some()
    })?;
    let (_, part) = pod.rsplit_once('/').unwrap_or(("", pod));
    let comes_again = uid(part).is_none_or(|uid| uid.len() != UID_OF_A_POD);
    (!comes_again && !part.contains(':')).then_some(pod)
}

/// The UID, if a part of a path is a pod's.
fn uid(part: &str) -> Option<&str> {
    let slice = part.split(':').next().unwrap_or(part);
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    let uid = name.strip_prefix("pod").or_else(|| Some(name.rsplit_once("-pod")?.1))?;
    is_uid(uid).then_some(uid)
}

fn is_uid(text: &str) -> bool {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.len() {
        32 => hexadecimal(text),
        UID_OF_A_POD => {
            let groups: Vec<_> = text.split(['-', '_']).collect();
            groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.into_iter().all(hexadecimal)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const INNER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    const UID: &str = "1f2e3d4c-0000-1111-2222-333344445555";

    /// The pods of a path, as UID and container.
    fn pods(path: &str) -> Vec<(String, Option<String>)> {
        let path = path.replace("INNER", INNER).replace("ID", ID);
        let path = path.replace("UUU", UID).replace("U_U", &UID.replace('-', "_"));
        of_path(&path).map(|pod| (pod.uid(), pod.container.map(str::to_owned))).collect()
    }

    #[test]
    fn every_driver_and_runtime_is_understood() {
        for path in [
            // cgroupfs: containerd, Docker, CRI-O; each class of service.
            "/kubepods/burstable/podUUU/ID",
            "/kubepods/besteffort/podUUU/ID",
            "/kubepods/podUUU/ID",
            "/kubepods/burstable/podUUU/crio-ID",
            // systemd: containerd, CRI-O, Docker.
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_U.slice/cri-containerd-ID.scope",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_U.slice/crio-ID.scope",
            "/kubepods.slice/kubepods-podU_U.slice/docker-ID.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_U.slice/crio-ID.scope/container",
            // A kubelet under a root of its own (kind, OpenShift, `--cgroup-root`).
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-podU_U.slice/cri-containerd-ID.scope",
            "/docker/INNER/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_U.slice/cri-containerd-ID.scope",
            "/system.slice/docker-INNER.scope/kubelet/kubepods/besteffort/podUUU/ID",
            // containerd that was told `systemd` by the kubelet and not by its own configuration.
            "/system.slice/containerd.service/kubepods-besteffort-podU_U.slice:cri-containerd:ID",
            // What runs in the container makes cgroups too.
            "/kubepods/burstable/podUUU/ID/docker/INNER",
            "/kubepods/burstable/podUUU/ID/system.slice/nginx.service",
        ] {
            assert_eq!(pods(path), [(UID.to_owned(), Some(ID.to_owned()))], "{path}");
        }
    }

    #[test]
    fn a_pod_has_a_cgroup_of_its_own() {
        let outermost = |path: &str| {
            let path = path.replace("INNER", INNER).replace("ID", ID).replace("UUU", UID);
            outermost(&path).map(|pod| pod.replace(UID, "UUU"))
        };
        let slice = format!("/kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
        assert_eq!(outermost(&format!("{slice}/cri-containerd-ID.scope")), Some(slice));
        for path in ["/kubepods/burstable/podUUU", "/kubepods/burstable/podUUU/ID/docker/INNER"] {
            assert_eq!(outermost(path).as_deref(), Some("/kubepods/burstable/podUUU"), "{path}");
        }
        let outer = "/kubepods/podaaaaaaaa-0000-1111-2222-333344445555";
        assert_eq!(outermost(&format!("{outer}/INNER/kubelet/kubepods/podUUU/ID")).as_deref(), Some(outer));
        for path in [
            "/",
            "/system.slice/nginx.service",
            "/kubepods/pod0123456789abcdef0123456789abcdef/ID",
            &format!(
                "/system.slice/containerd.service/kubepods-pod{}.slice:cri-containerd:ID",
                UID.replace('-', "_")
            ),
        ] {
            assert_eq!(outermost(path), None, "{path}");
        }
    }

    #[test]
    fn a_pod_without_a_container_is_one() {
        assert_eq!(pods("/kubepods/podUUU"), [(UID.to_owned(), None)]);
        let of_a_file = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            pods(&format!("/kubepods.slice/kubepods-burstable-pod{of_a_file}.slice/crio-ID.scope")),
            [(of_a_file.to_owned(), Some(ID.to_owned()))],
            "a static pod's"
        );
    }

    #[test]
    fn of_a_cluster_in_a_pod_the_inner_pod_comes_first() {
        let outer = "aaaaaaaa-0000-1111-2222-333344445555";
        let path = format!("/kubepods/pod{outer}/INNER/kubelet/kubepods/burstable/podUUU/ID");
        let inner = (UID.to_owned(), Some(ID.to_owned()));
        assert_eq!(pods(&path), [inner, (outer.to_owned(), Some(INNER.to_owned()))]);
    }

    #[test]
    fn what_is_no_pod_is_none() {
        for path in [
            "/",
            "",
            "/system.slice/kubelet.service",
            "/docker/ID",
            "/kubepods/burstable",
            "/kubepods/podcast/ID",
            "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope",
            "/kubepods/pod1f2e3d4c-0000-1111-2222-33334444555g/ID",
            "/kubepods/pod1f2e3d4c00-00-1111-2222-333344445555/ID",
        ] {
            assert_eq!(pods(path), [], "{path}");
        }
    }
}
