//! `cargo xtask cluster`: a real Kubernetes of one node on this machine: etcd, API server, controller manager, scheduler,
//! kubelet, containerd, runc, CNI plug-ins.
//!
//! It lives in a mount and a network namespace of its own, so that no port and no file of the machine is touched; PIDs and
//! cgroups are the machine's, so that an agent in it sees real ones. Every daemon runs in one cgroup, every pod in the
//! kubelet's, and `down` kills both as wholes. One at a time, since the kubelet's cgroups have one name.

mod cgroups;
mod daemons;
mod files;
mod images;
mod node;
mod pki;

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use self::cgroups::Cgroups;
use crate::{
    exec, libtest, privilege,
    record::Record,
    setup::{self, Group, Kubernetes},
    workspace,
};

/// The only node.
const NODE: &str = "node1";
/// Its address, in a network namespace of its own.
const NODE_ADDRESS: &str = "10.78.0.1";
/// The addresses of pods.
const PODS: &str = "10.77.0.0/24";
/// The addresses of services.
const SERVICES: &str = "10.96.0.0/24";
/// The first of them is the API server's.
const API_SERVER: &str = "10.96.0.1";

/// A machine that builds something else meanwhile takes its time.
const PATIENCE: Duration = Duration::from_mins(3);

/// What `cluster` takes.
#[derive(Subcommand)]
pub(crate) enum Options {
    /// Starts it, and returns when the node is ready
    Up,
    /// Ends it, and removes all that it left
    Down,
    /// kubectl, as its administrator: `cargo xtask cluster kubectl get pods -A`
    Kubectl(Arguments),
    /// helm, likewise
    Helm(Arguments),
    /// Any command on the node, in its mounts and its network
    Run(Arguments),
    /// Gives the node images, from files that `podman save` or `buildah push docker-archive:` wrote
    Load {
        /// The files
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Kills a daemon, such as kube-apiserver, and keeps it from coming back
    Stop {
        /// The program's name
        daemon: String,
    },
    /// Lets a daemon come back that was stopped
    Start {
        /// The program's name
        daemon: String,
    },
    /// The node itself, in its namespaces: started by `up`
    #[command(hide = true)]
    Node,
}

/// Passed on as they are.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<String>,
}

pub(crate) fn cluster(options: &Options) -> Result<()> {
    if !privilege::is_root() {
        bail!(
            "a node of Kubernetes runs as root: run this as root, or by `sudo -E env PATH=\"$PATH\" cargo xtask cluster`"
        );
    }
    if !matches!(options, Options::Node) {
        setup::ensure_host(&[Group::Cluster])?;
    }
    let cluster =
        Cluster { directory: directory(), programs: setup::kubernetes()?, cgroups: Cgroups::find()? };
    match options {
        Options::Up => cluster.up(),
        Options::Down => cluster.down(),
        Options::Kubectl(with) => Err(exec::replace(cluster.on_node("kubectl")?.args(&with.arguments))),
        Options::Helm(with) => {
            let mut helm = cluster.on_node(&cluster.programs.helm.display().to_string())?;
            Err(exec::replace(helm.args(&with.arguments)))
        }
        Options::Run(with) => {
            let (program, arguments) = with.arguments.split_first().context("there is nothing to run")?;
            Err(exec::replace(cluster.on_node(program)?.args(arguments)))
        }
        Options::Load { archives } => cluster.load(archives),
        Options::Stop { daemon } => cluster.stop(daemon),
        Options::Start { daemon } => cluster.start(daemon),
        Options::Node => node::be(&cluster),
    }
}

/// Where its state is kept; the tests find it there, too.
fn directory() -> PathBuf {
    workspace::target().join("cluster")
}

/// The cluster, up or not.
struct Cluster {
    directory: PathBuf,
    programs: Kubernetes,
    cgroups: Cgroups,
}

impl Cluster {
    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.directory.join(name)
    }

    /// The daemons' logs.
    fn log(&self, daemon: &str) -> PathBuf {
        self.file("log").join(daemon)
    }

    /// The kubeconfig of its administrator.
    fn administrator(&self) -> PathBuf {
        self.file("admin.conf")
    }

    /// With the directories of what we compiled first.
    fn path(&self) -> String {
        format!("{}:{}", self.programs.programs.display(), exec::search_path())
    }

    fn up(&self) -> Result<()> {
        if self.cgroups.exist() {
            bail!(
                "a node runs on this machine already: a cluster of ours, which `cargo xtask cluster down` ends, or a \
                 kubelet of somebody else's"
            );
        }
        let started = Instant::now();
        // What a machine that went down left.
        self.remove_state()?;
        for directory in ["log", "cni", "images", "plugins", "running", "stopped"] {
            let directory = self.file(directory);
            fs::create_dir_all(&directory)
                .with_context(|| format!("could not create {}", directory.display()))?;
        }
        pki::make(self)?;
        files::write(self)?;
        images::make(self)?;
        self.cgroups.make()?;
        let mut node = self.start_node()?;
        let ready = self.wait_for_node(&mut node);
        if ready.is_err() {
            let logs = self.file("log");
            self.end()?;
            return ready
                .with_context(|| format!("the cluster did not come up; its logs are in {}", logs.display()));
        }
        eprintln!("cluster: {NODE} is ready after {:.1} s", started.elapsed().as_secs_f64());
        eprintln!(
            "cluster: `cargo xtask cluster kubectl get pods -A` looks at it, `cargo xtask cluster down` ends it"
        );
        Ok(())
    }

    /// Starts ourselves in new namespaces. The process stays: it is by it that others find these.
    fn start_node(&self) -> Result<Child> {
        let log = self.log("node");
        let log = File::create(&log).with_context(|| format!("could not create {}", log.display()))?;
        let us = std::env::current_exe().context("could not find out where this program lies")?;
        let mut node = Command::new("unshare");
        node.args(["--mount", "--net"]).arg(us).args(["cluster", "node"]);
        node.env("PATH", self.path()).env("KUBECONFIG", self.administrator());
        let errors = log.try_clone().context("could not open the node's log twice")?;
        node.stdin(Stdio::null()).stdout(log).stderr(errors);
        // Ctrl-C at the terminal is not meant for it.
        node.process_group(0);
        let child = node.spawn().with_context(|| format!("could not start `{}`", exec::quoted(&node)))?;
        self.write("pid", child.id().to_string())?;
        Ok(child)
    }

    fn wait_for_node(&self, node: &mut Child) -> Result<()> {
        let started = Instant::now();
        while !self.file("ready").exists() {
            if let Some(status) = node.try_wait().context("could not wait for the node")? {
                let said = fs::read_to_string(self.log("node")).unwrap_or_default();
                bail!("the node ended with {status}: {}", said.trim());
            }
            if started.elapsed() > PATIENCE {
                bail!("the node was not ready in {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn down(&self) -> Result<()> {
        self.end()?;
        self.remove_state()?;
        eprintln!("cluster: down");
        Ok(())
    }

    /// Ends every process of it; its namespaces, and with them its mounts and devices, go with the last.
    fn end(&self) -> Result<()> {
        self.cgroups.end()
    }

    fn remove_state(&self) -> Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("could not remove {}", self.directory.display()))
            }
            _ => Ok(()),
        }
    }

    fn load(&self, archives: &[PathBuf]) -> Result<()> {
        for archive in archives {
            let archive =
                fs::canonicalize(archive).with_context(|| format!("there is no {}", archive.display()))?;
            exec::run(self.on_node("ctr")?.args(["--namespace", "k8s.io", "images", "import"]).arg(archive))?;
        }
        Ok(())
    }

    fn stop(&self, daemon: &str) -> Result<()> {
        let running = self.file("running").join(daemon);
        let pid = fs::read_to_string(&running)
            .with_context(|| format!("no daemon {daemon} runs in the cluster"))?;
        self.write(Path::new("stopped").join(daemon), "")?;
        exec::run(Command::new("kill").args(["-KILL", pid.trim()]))?;
        // The node removes the file once it has seen it end.
        let started = Instant::now();
        while running.exists() && started.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn start(&self, daemon: &str) -> Result<()> {
        let stopped = self.file("stopped").join(daemon);
        fs::remove_file(&stopped).with_context(|| format!("{daemon} was not stopped"))
    }

    /// A command in the node's namespaces, as the cluster's administrator.
    fn on_node(&self, program: &str) -> Result<Command> {
        let pid = fs::read_to_string(self.file("pid")).ok().filter(|_| self.file("ready").exists());
        let pid = pid.context("no cluster is up: start one by `cargo xtask cluster up`")?;
        let mut command = Command::new("nsenter");
        command.args(["--target", pid.trim(), "--mount", "--net", "--wd=/", "--", program]);
        command.env("PATH", self.path()).env("KUBECONFIG", self.administrator());
        Ok(command)
    }

    fn write(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<()> {
        let file = self.file(name);
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))
    }
}

/// The ring `kubernetes`: brings a cluster with the image of this tree, has cargo run the tests in it, and ends it. One that
/// is up already is used, and stays.
pub(crate) fn ring(mut cargo: Command, arguments: &[String], record: &Record) -> Result<()> {
    let us = std::env::current_exe().context("could not find out where this program lies")?;
    let xtask = |words: &[&str]| exec::run(Command::new(&us).args(words));
    let archive = workspace::target().join("image/traffic-probe.tar");
    xtask(&["manifests", "--check"])?;
    xtask(&["image", "--archive", &archive.display().to_string()])?;
    let was_up = directory().join("ready").exists();
    if !was_up {
        xtask(&["cluster", "up"])?;
    }
    let loaded = xtask(&["cluster", "load", &archive.display().to_string()]);
    let ran = loaded.and_then(|()| {
        // One node has room for one probe.
        cargo.arg("--").arg("--test-threads=1").args(arguments).env("TRAFFIC_PROBE_XTASK", &us);
        // For the test that starts an agent on the node itself.
        cargo.env("TRAFFIC_PROBE_BIN", workspace::target().join("image/traffic-probe"));
        libtest::run(&mut cargo, "kubernetes", record)
    });
    let ended = if was_up { Ok(()) } else { xtask(&["cluster", "down"]) };
    ran.and(ended)
}
