//! What runs in the node's namespaces: the mounts, the addresses, and the daemons, one after the other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    API_SERVER, Cluster, NODE, NODE_ADDRESS, PATIENCE,
    daemons::{self, Daemon},
};
use crate::exec;

/// Directories that are the kubelet's and containerd's by habit: the node has its own, in its state.
const OWN: [&str; 5] = ["lib/kubelet", "lib/containerd", "lib/cni", "log/pods", "log/containers"];

/// What the kubelet sets for the whole machine; it is given copies to write to.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Brings everything up, says so, and stays.
pub(super) fn be(cluster: &Cluster) -> Result<()> {
    cluster.cgroups.enter()?;
    mounts(cluster)?;
    // With both addresses on its loopback device, pods reach the API server at its service's, without a kube-proxy.
    ip(&["link", "set", "lo", "up"])?;
    for address in [NODE_ADDRESS, API_SERVER] {
        ip(&["address", "add", &format!("{address}/32"), "dev", "lo"])?;
    }
    let mut running = Vec::new();
    let mut start = |daemon: fn(&Cluster) -> Daemon| -> Result<()> {
        running.push(Running { daemon, child: Some(daemon(cluster).start(cluster)?) });
        Ok(())
    };
    start(daemons::etcd)?;
    start(daemons::containerd)?;
    start(daemons::api_server)?;
    wait_for("containerd", || Path::new("/run/containerd/containerd.sock").exists())?;
    import_images(cluster)?;
    wait_for("kube-apiserver", || succeeds("kubectl", &["get", "--raw", "/readyz"]))?;
    start(daemons::controller_manager)?;
    start(daemons::scheduler)?;
    start(daemons::kubelet)?;
    let ready = "--for=condition=Ready";
    wait_for("kubelet", || succeeds("kubectl", &["wait", ready, &format!("node/{NODE}"), "--timeout=20s"]))?;
    wait_for("kube-controller-manager", || succeeds("kubectl", &["get", "serviceaccount", "default"]))?;
    cluster.write("ready", "")?;
    loop {
        thread::sleep(Duration::from_millis(50));
        for daemon in &mut running {
            daemon.tend(cluster)?;
        }
    }
}

/// A daemon that is to run as long as the node does.
struct Running {
    daemon: fn(&Cluster) -> Daemon,
    child: Option<Child>,
}

impl Running {
    /// Starts it again if it ended, unless somebody stopped it.
    fn tend(&mut self, cluster: &Cluster) -> Result<()> {
        let daemon = (self.daemon)(cluster);
        if let Some(child) = &mut self.child {
            let Some(status) = child.try_wait().context("could not wait for a daemon")? else {
                return Ok(());
            };
            eprintln!("{} ended with {status}", daemon.name());
            self.child = None;
            let _ = fs::remove_file(daemon.running(cluster));
        }
        if !daemon.is_stopped(cluster) {
            self.child = Some(daemon.start(cluster)?);
        }
        Ok(())
    }
}

fn mounts(cluster: &Cluster) -> Result<()> {
    // The kubelet wants to pass mounts on.
    mount(&["--make-rshared", "/"])?;
    mount(&["-t", "tmpfs", "run", "/run"])?;
    if !Path::new("/var/run").is_symlink() {
        mount(&["--bind", "/run", "/var/run"])?;
    }
    for directory in OWN {
        let here = PathBuf::from("/var").join(directory);
        let own = cluster.file("var").join(directory);
        for made in [&here, &own] {
            fs::create_dir_all(made).with_context(|| format!("could not create {}", made.display()))?;
        }
        bind(&own, &here)?;
    }
    for setting in SETTINGS {
        let file = Path::new("/proc/sys").join(setting);
        let value = fs::read(&file).with_context(|| format!("could not read {}", file.display()))?;
        let name = format!("sysctl.{}", setting.replace('/', "."));
        cluster.write(&name, value)?;
        bind(&cluster.file(name), &file)?;
    }
    // The node's own, so that what is pinned in it goes with it.
    if Path::new("/sys/fs/bpf").exists() {
        mount(&["-t", "bpf", "bpf", "/sys/fs/bpf"])?;
    }
    Ok(())
}

fn import_images(cluster: &Cluster) -> Result<()> {
    let directory = cluster.file("images");
    let images =
        fs::read_dir(&directory).with_context(|| format!("could not read {}", directory.display()))?;
    for image in images.flatten() {
        let mut ctr = Command::new("ctr");
        exec::run(ctr.args(["--namespace", "k8s.io", "images", "import"]).arg(image.path()))?;
    }
    Ok(())
}

/// Waits for what a daemon brings about; the log of one that does not is named.
fn wait_for(daemon: &str, done: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > PATIENCE {
            bail!("{daemon} was not ready in {} s: see its log", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
    eprintln!("{daemon} is ready after {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    exec::run(Command::new("mount").arg("--bind").arg(from).arg(to))
}

fn mount(arguments: &[&str]) -> Result<()> {
    exec::run(Command::new("mount").args(arguments))
}

fn ip(arguments: &[&str]) -> Result<()> {
    exec::run(Command::new("ip").args(arguments))
}
