//! What the cluster's programs are configured by.

use anyhow::Result;

use super::{API_SERVER, Cluster, PODS, images, pki};

/// Writes the files.
pub(super) fn write(cluster: &Cluster) -> Result<()> {
    for user in ["admin", "node"] {
        cluster.write(format!("{user}.conf"), kubeconfig(cluster, user))?;
    }
    // Pods have no names looked up.
    cluster.write("resolv.conf", "")?;
    cluster.write("containerd.toml", containerd(cluster))?;
    cluster.write("cni/pods.conflist", network())?;
    cluster.write("kubelet.yaml", kubelet(cluster))
}

fn kubeconfig(cluster: &Cluster, user: &str) -> String {
    let file = |name: &str| pki::file(cluster, name).display().to_string();
    let (authority, certificate, key) =
        (file("ca.crt"), file(&format!("{user}.crt")), file(&format!("{user}.key")));
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         current-context: here\n\
         contexts: [{{name: here, context: {{cluster: here, user: {user}}}}}]\n\
         clusters: [{{name: here, cluster: {{server: 'https://{API_SERVER}', certificate-authority: {authority}}}}}]\n\
         users: [{{name: {user}, user: {{client-certificate: {certificate}, client-key: {key}}}}}]\n"
    )
}

fn containerd(cluster: &Cluster) -> String {
    let cni = cluster.file("cni").display().to_string();
    let pause = images::PAUSE;
    // An adjustment of the OOM killer below the parent's needs CAP_SYS_RESOURCE, which a container may lack.
    format!(
        "version = 2\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"{pause}\"\n\
         restrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
         bin_dir = \"/usr/lib/cni\"\n\
         conf_dir = \"{cni}\"\n"
    )
}

fn network() -> String {
    format!(
        r#"{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{
            "type": "bridge", "bridge": "cni0", "isGateway": true,
            "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{PODS}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}
        }}]}}"#
    )
}

fn kubelet(cluster: &Cluster) -> String {
    let resolver = cluster.file("resolv.conf");
    let plugins = cluster.file("plugins");
    let authority = pki::file(cluster, "ca.crt");
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1\n\
         kind: KubeletConfiguration\n\
         # Machines of cgroup v1 and v2 are served as well.\n\
         failCgroupV1: false\n\
         cgroupDriver: cgroupfs\n\
         containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n\
         makeIPTablesUtilChains: false\n\
         resolvConf: {}\n\
         volumePluginDir: {}\n\
         # What cannot be fetched again is not removed, however full the disk is.\n\
         imageGCHighThresholdPercent: 100\n\
         evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}\n\
         authentication: {{x509: {{clientCAFile: {}}}, webhook: {{enabled: true}}, anonymous: {{enabled: false}}}}\n\
         authorization: {{mode: Webhook}}\n",
        resolver.display(),
        plugins.display(),
        authority.display()
    )
}
