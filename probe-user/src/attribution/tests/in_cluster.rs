//! On a node of a cluster.

use serde_json::json;

use super::*;
use crate::kubernetes::Cluster;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "1f2e3d4c-0000-1111-2222-333344445555";

impl Node {
    fn in_cluster(self, cluster: Cluster) -> Self {
        let Self { cgroups, procfs, attribution } = self;
        Self { cgroups, procfs, attribution: attribution.in_cluster(Some(cluster)) }
    }

    /// Who a service is: name, and the labels of its place parted by slashes.
    fn who(&mut self, key: ServiceKey, process: u32) -> String {
        let entry = ServiceEntry { index: 1, process, ..ServiceEntry::default() };
        let Identity { service, place } = self.attribution.name(&key, &entry).expect("nothing is waited for");
        format!("{service} at {}", place.expect("a place in the cluster").values().join("/"))
    }
}

fn shop() -> Cluster {
    Cluster::with_pods(
        "node1",
        &[json!({
            "metadata": {
                "name": "web-6d9f-x7k2p", "namespace": "shop", "uid": UID,
                "labels": {"pod-template-hash": "6d9f"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6d9f", "uid": "1", "controller": true,
                }],
            },
            "spec": {"containers": [{"name": "nginx"}, {"name": "proxy"}]},
            "status": {"containerStatuses": [{"name": "nginx", "containerID": format!("containerd://{ID}")}]},
        })],
    )
}

#[test]
fn a_container_has_the_names_of_its_pod() {
    let mut node = Node::new().in_cluster(shop());
    let cgroup = node.cgroup(&format!("kubepods/burstable/pod{UID}/{ID}"));
    assert_eq!(node.who(server(cgroup, "nginx"), 10), "web at shop/web/web-6d9f-x7k2p/nginx/node1");
    // What an entrypoint moved to a cgroup of its own is still the container's.
    let below = node.cgroup(&format!("kubepods/burstable/pod{UID}/{ID}/system.slice/nginx.service"));
    let mut later = Node::new().in_cluster(shop());
    later.cgroups = node.cgroups;
    later.attribution.cgroups = CgroupTree::new(later.cgroups.path().into());
    assert_eq!(later.who(server(below, "nginx"), 10), "web at shop/web/web-6d9f-x7k2p/nginx/node1");
}

#[test]
fn a_service_of_the_node_has_the_node_alone() {
    let mut node = Node::new().in_cluster(shop());
    let cgroup = node.cgroup("system.slice/kubelet.service");
    assert_eq!(node.who(server(cgroup, "kubelet"), 10), "kubelet at ////node1");
}

#[test]
fn without_an_api_server_the_path_and_the_process_tell() {
    let mut node = Node::new().in_cluster(Cluster::without_server("node1"));
    let cgroup = node.cgroup(&format!("kubepods/burstable/pod{UID}/{ID}"));
    let expected = format!("at //{UID}/0123456789ab/node1");
    assert_eq!(node.who(server(cgroup, "nginx"), 10), format!("nginx {expected}"));
    assert_eq!(
        node.who(server(cgroup, ""), 0),
        format!("0123456789ab {expected}"),
        "of a socket older than us"
    );
    node.process(10, &format!("/kubepods/burstable/pod{UID}/{ID}"), &["java", "http-nio"]);
    let thread = ServiceKey { process: 10, ..server(cgroup, "http-nio") };
    assert_eq!(node.who(thread, 10), format!("java {expected}"));
}

#[test]
fn a_pod_that_only_version_1_knows_is_found_by_its_process() {
    let mut node = Node::new().in_cluster(shop());
    let cgroup = node.cgroup("system.slice/containerd.service");
    node.process(10, "/system.slice/containerd.service", &["nginx"]);
    let text = format!("4:memory:/kubepods/pod{UID}/{ID}\n0::/system.slice/containerd.service\n");
    fs::write(node.procfs.path().join("10/cgroup"), text).unwrap();
    let key = ServiceKey { process: 10, ..server(cgroup, "nginx") };
    assert_eq!(node.who(key, 10), "web at shop/web/web-6d9f-x7k2p/nginx/node1");
}

#[test]
fn a_pod_that_the_api_server_does_not_tell_of_yet_is_waited_for() {
    let mut node = Node::new().in_cluster(shop());
    let other = "aaaaaaaa-0000-1111-2222-333344445555";
    let key = server(node.cgroup(&format!("kubepods/pod{other}/{ID}")), "redis");
    // The id is that of a container of a pod that is known.
    assert_eq!(node.who(key, 10), "web at shop/web/web-6d9f-x7k2p/nginx/node1");
    let unknown = ID.replace('0', "f");
    let cgroup = node.cgroup(&format!("kubepods/pod{other}/{unknown}"));
    node.attribution.cgroups = CgroupTree::new(node.cgroups.path().into());
    let (key, entry) =
        (server(cgroup, "redis"), ServiceEntry { index: 1, process: 10, ..ServiceEntry::default() });
    let asked = Instant::now();
    assert_eq!(node.attribution.name_at(asked, &key, entry), None);
    let given_up = node.attribution.name_at(asked + Duration::from_secs(10), &key, entry).unwrap();
    assert_eq!(&*given_up.service, "redis");
    assert_eq!(given_up.place.unwrap().values(), ["", "", other, "f123456789ab", "node1"]);
}

#[test]
fn a_pod_is_gone_with_its_own_cgroup_and_not_with_a_containers() {
    let mut node = Node::new().in_cluster(shop());
    let path = format!("kubepods/burstable/pod{UID}/{ID}");
    let key = server(node.cgroup(&path), "nginx");
    assert!(!node.attribution.is_gone(&key), "it has no name yet");
    node.who(key, 10);
    assert_eq!(node.attribution.pod_of(&key).as_deref(), Some(&*format!("/kubepods/burstable/pod{UID}")));
    let container = node.cgroups.path().join(path);
    fs::remove_dir(&container).unwrap();
    assert!(!node.attribution.is_gone(&key), "it may start another");
    fs::remove_dir(container.parent().unwrap()).unwrap();
    assert!(node.attribution.is_gone(&key));
    node.attribution.forget(&key);
    assert!(node.attribution.pod_of(&key).is_none());
}

#[test]
fn what_is_in_no_pod_is_not_gone_with_its_cgroup() {
    let mut node = Node::new().in_cluster(shop());
    let key = server(node.cgroup("system.slice/kubelet.service"), "kubelet");
    node.who(key, 10);
    fs::remove_dir(node.cgroups.path().join("system.slice/kubelet.service")).unwrap();
    assert!(!node.attribution.is_gone(&key), "a unit comes again");
}
