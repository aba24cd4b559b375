//! The daemons of the node, and how each is started.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::{Cluster, NODE, NODE_ADDRESS, SERVICES, pki};
use crate::exec;

/// A program that is to run as long as the node does.
pub(super) struct Daemon {
    name: &'static str,
    command: Command,
}

impl Daemon {
    fn new(name: &'static str) -> Self {
        Self { name, command: Command::new(name) }
    }

    /// With flags, each as `name=value`.
    fn flags<S: AsRef<str>>(mut self, flags: impl IntoIterator<Item = S>) -> Self {
        self.command.args(flags.into_iter().map(|flag| format!("--{}", flag.as_ref())));
        self
    }

    /// Its program's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The file that tells its process while it runs.
    pub(super) fn running(&self, cluster: &Cluster) -> PathBuf {
        cluster.file("running").join(self.name)
    }

    /// Whether somebody wants it not to run.
    pub(super) fn is_stopped(&self, cluster: &Cluster) -> bool {
        cluster.file("stopped").join(self.name).exists()
    }

    /// Starts it; what it says goes to its log.
    pub(super) fn start(mut self, cluster: &Cluster) -> Result<Child> {
        let log = cluster.log(self.name);
        let opened = File::options().create(true).append(true).open(&log);
        let log = opened.with_context(|| format!("could not open {}", log.display()))?;
        let errors = log.try_clone().context("could not open a log twice")?;
        self.command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = self
            .command
            .spawn()
            .with_context(|| format!("could not start `{}`", exec::quoted(&self.command)))?;
        cluster.write(self.running(cluster), child.id().to_string())?;
        Ok(child)
    }
}

pub(super) fn etcd(cluster: &Cluster) -> Daemon {
    Daemon::new("etcd").flags([
        format!("data-dir={}", cluster.file("etcd").display()),
        // It need not outlive a power cut.
        "unsafe-no-fsync".into(),
        "listen-client-urls=http://127.0.0.1:2379".into(),
        "advertise-client-urls=http://127.0.0.1:2379".into(),
        "listen-peer-urls=http://127.0.0.1:2380".into(),
    ])
}

pub(super) fn containerd(cluster: &Cluster) -> Daemon {
    Daemon::new("containerd").flags([format!("config={}", cluster.file("containerd.toml").display())])
}

pub(super) fn api_server(cluster: &Cluster) -> Daemon {
    let key = |flag: &str, file: &str| format!("{flag}={}", pki::file(cluster, file).display());
    Daemon::new("kube-apiserver")
        .flags([
            "etcd-servers=http://127.0.0.1:2379",
            "bind-address=0.0.0.0",
            "secure-port=443",
            "endpoint-reconciler-type=none",
            "kubelet-preferred-address-types=InternalIP",
            "authorization-mode=Node,RBAC",
            "enable-admission-plugins=NodeRestriction",
            "allow-privileged",
            "service-account-issuer=https://kubernetes.default.svc",
        ])
        .flags([
            format!("advertise-address={NODE_ADDRESS}"),
            format!("service-cluster-ip-range={SERVICES}"),
            key("client-ca-file", "ca.crt"),
            key("tls-cert-file", "api.crt"),
            key("tls-private-key-file", "api.key"),
            key("kubelet-client-certificate", "admin.crt"),
            key("kubelet-client-key", "admin.key"),
            key("service-account-key-file", pki::ACCOUNTS),
            key("service-account-signing-key-file", pki::ACCOUNTS),
        ])
}

pub(super) fn controller_manager(cluster: &Cluster) -> Daemon {
    let file = |flag: &str, path: PathBuf| format!("{flag}={}", path.display());
    Daemon::new("kube-controller-manager").flags([
        file("kubeconfig", cluster.administrator()),
        "leader-elect=false".into(),
        "bind-address=127.0.0.1".into(),
        file("service-account-private-key-file", pki::file(cluster, pki::ACCOUNTS)),
        file("root-ca-file", pki::file(cluster, "ca.crt")),
        file("flex-volume-plugin-dir", cluster.file("plugins")),
        "use-service-account-credentials=false".into(),
    ])
}

pub(super) fn scheduler(cluster: &Cluster) -> Daemon {
    Daemon::new("kube-scheduler").flags([
        format!("kubeconfig={}", cluster.administrator().display()),
        "leader-elect=false".into(),
        "bind-address=127.0.0.1".into(),
    ])
}

pub(super) fn kubelet(cluster: &Cluster) -> Daemon {
    Daemon::new("kubelet").flags([
        format!("config={}", cluster.file("kubelet.yaml").display()),
        format!("kubeconfig={}", cluster.file("node.conf").display()),
        format!("hostname-override={NODE}"),
        format!("node-ip={NODE_ADDRESS}"),
    ])
}
