//! The image under test, run by podman and runc: without a daemon, with a storage of the test's own, and with the rights that
//! the chart gives to its container.

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cgroup,
    client::{Client, Request},
    machine::{self, Turn, Use},
    metrics::Scrape,
    poll,
    process::{self, Output, Process, complain},
    tool,
};

/// What the agent says once it counts.
const READY: &str = "metrics at http://";

/// For a container of which 20 MB are copied first.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the host's hierarchy of cgroups is shown to it, as by the chart.
pub const CGROUP: &str = "/sys/fs/cgroup:/host/cgroup:ro";

/// podman, with the image in a storage of its own that goes with it.
#[derive(Debug)]
pub struct Engine {
    directory: TempDir,
    image: String,
    /// The cgroup of its containers.
    parent: String,
    // For its agents: one that wants the machine alone waits.
    _turn: Turn,
}

/// Which system calls the runtime's profile lets a container make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `bpf` with `CAP_BPF`: containerd's, and that of newer podmans.
    Current,
    /// `bpf` with `CAP_SYS_ADMIN` alone, as before.
    Old,
}

/// How a container of the probe is started: at first with all that it needs.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    engine: &'a Engine,
    capabilities: Vec<String>,
    profile: Profile,
    flags: Vec<String>,
}

/// A running one, ended when dropped.
#[derive(Debug)]
pub struct Container {
    process: Process,
    address: SocketAddr,
}

impl Engine {
    /// Loads the image that `cargo xtask test image` built.
    pub fn new() -> Result<Self> {
        Self::of("TRAFFIC_PROBE_IMAGE")
    }

    /// Loads another, of which a variable of the environment says where it is.
    pub fn of(variable: &str) -> Result<Self> {
        static ENGINES: AtomicU32 = AtomicU32::new(0);
        tool::demand_root()?;
        let archive = tool::of_image_ring(variable)?;
        let directory = TempDir::with_prefix("traffic-probe-podman-")?;
        for place in ["lock", "tmp"] {
            fs::create_dir(directory.path().join(place))?;
        }
        // Its locks, too, are its own, and not shared with what else podman runs on this machine.
        fs::write(
            directory.path().join("containers.conf"),
            format!(
                "[engine]\nlock_type = \"file\"\ntmp_dir = \"{}\"\nevents_logger = \"none\"\n",
                directory.path().join("tmp").display()
            ),
        )?;
        for (profile, rule) in [
            (
                Profile::Current,
                json!({"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}}),
            ),
            (Profile::Old, json!({"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1})),
        ] {
            fs::write(profile.file(directory.path()), serde_json::to_vec(&with_rule(rule)?)?)?;
        }
        let number = ENGINES.fetch_add(1, Ordering::Relaxed);
        let parent = format!("traffic-probe-podman-{}-{number}", std::process::id());
        let turn = machine::take(Use::Shared)?;
        let mut engine = Self { directory, image: String::new(), parent, _turn: turn };
        let said =
            process::run_well(engine.podman()?.args(["load", "--quiet", "--input"]).arg(archive), LIMIT)?;
        let image = said.lines().find_map(|line| line.strip_prefix("Loaded image: "));
        let image = image.with_context(|| format!("podman loaded no image: {said}"))?;
        image.clone_into(&mut engine.image);
        Ok(engine)
    }

    fn podman(&self) -> Result<Command> {
        let place = |name: &str| self.directory.path().join(name);
        let mut podman = tool::command("podman")?;
        podman.env("CONTAINERS_CONF", place("containers.conf"));
        podman.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--runtime",
            "runc",
            "--root",
        ]);
        podman.arg(place("root")).arg("--runroot").arg(place("run"));
        Ok(podman)
    }

    /// The image's configuration, as podman tells it.
    pub fn inspect(&self) -> Result<Value> {
        let said = process::run_well(self.podman()?.args(["image", "inspect", &self.image]), LIMIT)?;
        Ok(serde_json::from_str(&said)?)
    }

    /// A file of the image.
    pub fn file(&self, path: &str) -> Result<Vec<u8>> {
        let (made, copy) = (["create", "--network=host", &self.image], self.directory.path().join("copy"));
        let container = process::run_well(self.podman()?.args(made), LIMIT)?.trim().to_owned();
        let from = format!("{container}:/{path}");
        process::run_well(self.podman()?.args(["cp", &from]).arg(&copy), LIMIT)?;
        process::run_well(self.podman()?.args(["rm", &container]), LIMIT)?;
        fs::read(&copy).with_context(|| format!("podman copied no {path}"))
    }

    /// A container with just the rights that the chart gives.
    pub fn probe(&self) -> Result<Setup<'_>> {
        Ok(Setup {
            engine: self,
            capabilities: charts_capabilities()?,
            profile: Profile::Current,
            flags: vec![format!("--volume={CGROUP}")],
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let removed = cgroup_mounts().and_then(|mounts| {
            for directory in
                mounts.iter().map(|mount| mount.join(&self.parent)).filter(|place| place.exists())
            {
                // What was in it has ended, and may be listed for a moment longer.
                poll::until("a container's cgroup to be empty", || Ok(cgroup::remove(&directory).ok()))?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            complain(&format!("podman's cgroup {} could not be removed: {error:#}", self.parent));
        }
    }
}

impl Profile {
    fn file(self, directory: &Path) -> PathBuf {
        directory.join(format!("{self:?}.json"))
    }
}

impl Setup<'_> {
    /// Without one of its capabilities.
    #[must_use]
    pub fn without(mut self, capability: &str) -> Self {
        self.capabilities.retain(|other| other != capability);
        self
    }

    /// Under a profile.
    #[must_use]
    pub fn under(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// With a flag of podman's.
    #[must_use]
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// Without the host's cgroups.
    #[must_use]
    pub fn without_cgroups(mut self) -> Self {
        self.flags.retain(|flag| !flag.ends_with(CGROUP));
        self
    }

    /// Its capabilities.
    #[must_use]
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let engine = self.engine;
        let mut command = engine.podman()?;
        command.args(["run", "--rm", "--network=host", "--read-only", "--read-only-tmpfs=false"]);
        command.args(["--cap-drop=all", "--security-opt=no-new-privileges"]);
        command.args(self.capabilities.iter().map(|name| format!("--cap-add={name}")));
        let profile = self.profile.file(engine.directory.path());
        command.arg(format!("--security-opt=seccomp={}", profile.display()));
        // The usual limits are more than a root without CAP_SYS_RESOURCE may set.
        command.args(["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]);
        command.arg(format!("--cgroup-parent=/{}", engine.parent));
        let lock = engine.directory.path().join("lock");
        command.arg(format!("--volume={}:/run/traffic-probe", lock.display()));
        command.args(&self.flags).arg(&engine.image).args(arguments);
        Ok(command)
    }

    /// Has the image run a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        process::run(&mut self.command(arguments)?, LIMIT)
    }

    /// Has it run the agent, with further flags, to an end that comes by itself.
    pub fn run_agent(&self, flags: &[&str]) -> Result<Output> {
        self.run(&[&RUN, flags].concat())
    }

    /// Starts the agent, and waits until it counts.
    pub fn start(&self, flags: &[&str]) -> Result<Container> {
        let mut process = Process::spawn(&mut self.command(&[&RUN, flags].concat())?)?;
        let address = poll::until_within(LIMIT, "the agent in its container", || {
            let log = process.stderr()?;
            let told = log.split_once(READY).and_then(|(_, rest)| rest.split_once('/'));
            if let Some((address, _)) = told {
                return Ok(Some(address.parse()?));
            }
            match process.ended()? {
                Some(status) => bail!("the container ended with {status}: {log}"),
                None => Ok(None),
            }
        })?;
        Ok(Container { process, address })
    }
}

/// What the agent is started with; short ticks, since tests wait for them.
const RUN: [&str; 6] = [
    "run",
    "--interval=200ms",
    "--listen=127.0.0.1:0",
    "--lock=/run/traffic-probe",
    "--log-level=info",
    "--kubernetes=off",
];

impl Container {
    /// Scrapes the agent.
    pub fn scrape(&self) -> Result<Scrape> {
        let mut client = Client::connect(self.address).context("the agent does not answer")?;
        let response = client.exchange(&Request::new("GET", "/metrics").header("Connection: close"))?;
        ensure!(response.status == 200, "/metrics answers {}", response.status);
        Scrape::parse(String::from_utf8(response.body)?)
    }

    /// Ends it as a runtime does, and gives what the agent said.
    pub fn end(mut self) -> Result<Output> {
        self.process.terminate()
    }
}

/// What the chart adds to its container, all others being dropped.
fn charts_capabilities() -> Result<Vec<String>> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/traffic-probe/templates/daemonset.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(text.contains("drop: [ALL]"), "the chart does not drop all capabilities");
    let list = text.lines().find_map(|line| line.trim().strip_prefix("add: [")?.strip_suffix(']'));
    Ok(list.context("the chart adds no capabilities")?.split(", ").map(str::to_owned).collect())
}

/// The profile that is installed, with one rule for `bpf` in place of its own.
fn with_rule(rule: Value) -> Result<Value> {
    const INSTALLED: &str = "/usr/share/containers/seccomp.json";
    let file =
        File::open(INSTALLED).with_context(|| format!("cannot read {INSTALLED}, which comes with podman"))?;
    let mut profile: Value = serde_json::from_reader(file)?;
    let rules = profile["syscalls"].as_array_mut().with_context(|| format!("{INSTALLED} has no rules"))?;
    for rule in rules.iter_mut() {
        let names =
            rule["names"].as_array_mut().with_context(|| format!("{INSTALLED} has a rule without names"))?;
        names.retain(|name| name != "bpf");
    }
    rules.push(rule);
    Ok(profile)
}

/// Where hierarchies of cgroups are mounted, of either version.
fn cgroup_mounts() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(point))
    });
    Ok(points.collect())
}
