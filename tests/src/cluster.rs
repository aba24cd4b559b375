//! A real Kubernetes node with the probe on it, as its users have it: by `cargo xtask cluster` and the chart.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    machine::{self, Turn, Use},
    metrics::{Scrape, Series},
    poll, process,
};

/// Where the release is installed.
pub const RELEASE: &str = "traffic-probe";
/// The chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/traffic-probe");

/// The kustomize base.
pub const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/kustomize/base");

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a single command may take; those that wait have limits of their own, which are shorter.
const LIMIT: Duration = Duration::from_mins(4);

/// The cluster that the ring `kubernetes` started.
#[derive(Clone, Debug)]
pub struct Cluster {
    xtask: PathBuf,
}

impl Cluster {
    /// The one that is up.
    pub fn find() -> Result<Self> {
        const VARIABLE: &str = "TRAFFIC_PROBE_XTASK";
        let xtask = env::var_os(VARIABLE).map(PathBuf::from).with_context(|| {
            format!("{VARIABLE} is not set: `cargo xtask test kubernetes` starts a cluster and says how to reach it")
        })?;
        Ok(Self { xtask })
    }

    fn xtask(&self, what: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.xtask);
        command.args(["cluster", what]).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs kubectl, and gives what it says.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        said(&mut self.xtask("kubectl", arguments))
    }

    /// Runs helm.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        said(&mut self.xtask("helm", arguments))
    }

    /// Runs a command on the node.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        said(&mut self.xtask("run", arguments))
    }

    /// A command on the node, to be started by the caller.
    #[must_use]
    pub fn on_node(&self, arguments: &[&str]) -> Command {
        self.xtask("run", arguments)
    }

    /// Kills a daemon of the node, and keeps it from coming back.
    pub fn stop(&self, daemon: &str) -> Result<()> {
        said(&mut self.xtask("stop", &[daemon])).map(drop)
    }

    /// Has a daemon come back.
    pub fn start(&self, daemon: &str) -> Result<()> {
        said(&mut self.xtask("start", &[daemon])).map(drop)
    }

    /// Has objects made, or changed, as a manifest says.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifest)?;
        self.kubectl(&["apply", "-f", &file.path().display().to_string()])?;
        Ok(())
    }

    /// What the agent on the node serves.
    pub fn scrape(&self) -> Result<Scrape> {
        Scrape::parse(self.run(&["curl", "-sSf", "http://127.0.0.1:9464/metrics"])?)
    }

    /// The agent's log.
    pub fn log(&self) -> Result<String> {
        self.kubectl(&["-n", RELEASE, "logs", "daemonset/traffic-probe", "--tail=100"])
    }

    /// Waits until all of a workload runs.
    pub fn rolled_out(&self, namespace: &str, workload: &str) -> Result<()> {
        self.kubectl(&["-n", namespace, "rollout", "status", workload, "--timeout=120s"])?;
        Ok(())
    }

    /// The pods that match a label, by name, with their address.
    pub fn pods(&self, namespace: &str, label: &str) -> Result<Vec<Pod>> {
        let format = "jsonpath={range .items[?(@.status.phase==\"Running\")]}{.metadata.name} {.status.podIP} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
        let text = self.kubectl(&["-n", namespace, "get", "pods", "-l", label, "-o", format])?;
        let pod = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [name, address] => Some(Pod { name: name.to_owned(), address: address.to_owned() }),
            // One that is being deleted has a time behind it.
            _ => None,
        };
        Ok(text.lines().filter_map(pod).collect())
    }

    /// Waits until the series have these values, and makes sure that they keep them for two collections more.
    pub fn counts(&self, expected: &[(Series, u64)]) -> Result<()> {
        let started = Instant::now();
        let mut right = 0;
        loop {
            let scrape = self.scrape()?;
            let wrong: Vec<_> = expected
                .iter()
                .map(|(series, value)| (series, scrape.sum(series), *value))
                .filter(|(_, is, value)| (is - *value as f64).abs() > f64::EPSILON)
                .collect();
            right = if wrong.is_empty() { right + 1 } else { 0 };
            if right == 3 {
                return Ok(());
            }
            let too_many = wrong.iter().find(|(_, is, value)| *is > *value as f64);
            if too_many.is_some() || started.elapsed() > PATIENCE {
                let lines = scrape.text.lines().filter(|line| line.starts_with("traffic_requests_total"));
                bail!(
                    "wrong counts: {}\nrequests:\n{}\nthe agent's log:\n{}",
                    wrong
                        .iter()
                        .map(|(series, is, value)| format!("{series} is {is}, not {value}"))
                        .collect::<Vec<_>>()
                        .join("; "),
                    lines.collect::<Vec<_>>().join("\n"),
                    self.log().unwrap_or_else(|error| format!("{error:#}"))
                );
            }
            // A collection later.
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Waits for something that the cluster brings about.
    pub fn until<T>(&self, what: &str, check: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        poll::until_within(PATIENCE, what, check)
    }
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

/// The probe, installed by its chart, and uninstalled when dropped.
#[derive(Debug)]
pub struct Release<'a> {
    cluster: &'a Cluster,
    // Of other runs of the suite on this machine, those that fill every table have it alone.
    _turn: Turn,
}

impl<'a> Release<'a> {
    /// Installs it with these values, and waits until it counts.
    pub fn install(cluster: &'a Cluster, values: &[&str]) -> Result<Self> {
        let release = Self { cluster, _turn: machine::take(Use::Shared)? };
        release.upgrade(values)?;
        Ok(release)
    }

    /// Installs it, or changes what is installed.
    pub fn upgrade(&self, values: &[&str]) -> Result<()> {
        let mut arguments =
            vec!["upgrade", "--install", RELEASE, CHART, "--namespace", RELEASE, "--create-namespace"];
        arguments.extend(["--set", "image.tag=dev", "--wait", "--timeout", "3m"]);
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        self.cluster.helm(&arguments)?;
        self.cluster.rolled_out(RELEASE, "daemonset/traffic-probe")
    }

    /// Uninstalls it, and waits until its pods are gone.
    pub fn uninstall(self) -> Result<()> {
        let cluster = self.cluster;
        drop(self);
        cluster.until("the probe's pods to go", || {
            let pods = cluster.kubectl(&["-n", RELEASE, "get", "pods", "-o", "name"])?;
            Ok(pods.trim().is_empty().then_some(()))
        })
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.helm(&["uninstall", RELEASE, "--namespace", RELEASE, "--wait"]) {
            eprintln!("the release could not be uninstalled: {error:#}");
        }
    }
}

/// A namespace for a test, with all in it removed when dropped.
#[derive(Debug)]
pub struct Namespace<'a> {
    cluster: &'a Cluster,
    /// Its name.
    pub name: &'static str,
}

impl<'a> Namespace<'a> {
    /// Makes it.
    pub fn create(cluster: &'a Cluster, name: &'static str) -> Result<Self> {
        cluster.kubectl(&["create", "namespace", name])?;
        // Pods want the account that the controller makes.
        cluster.until("the namespace's service account", || {
            Ok(cluster.kubectl(&["-n", name, "get", "serviceaccount", "default"]).ok())
        })?;
        Ok(Self { cluster, name })
    }

    /// kubectl in it.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["-n", self.name], arguments].concat())
    }

    /// Has objects made in it.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifest)?;
        self.kubectl(&["apply", "-f", &file.path().display().to_string()])?;
        Ok(())
    }

    /// Sends so many requests from within a pod's container, each of which must be answered by 2xx.
    pub fn send(&self, pod: &str, container: &str, to: &str, requests: u64, clients: u32) -> Result<()> {
        self.drive(pod, container, to, requests, clients, &[])
    }

    /// The same at a pace: so many requests a second of each client.
    pub fn send_at(
        &self,
        pod: &str,
        container: &str,
        to: &str,
        requests: u64,
        clients: u32,
        rate: u32,
    ) -> Result<()> {
        self.drive(pod, container, to, requests, clients, &["--rps", &rate.to_string()])
    }

    fn drive(
        &self,
        pod: &str,
        container: &str,
        to: &str,
        requests: u64,
        clients: u32,
        flags: &[&str],
    ) -> Result<()> {
        let (count, clients) = (requests.to_string(), clients.to_string());
        let mut command =
            vec!["exec", pod, "-c", container, "--", "h2load", "--h1", "-n", &count, "-c", &clients];
        command.extend(flags);
        let to = format!("http://{to}/");
        command.push(&to);
        let said = self.kubectl(&command)?;
        ensure!(
            said.contains(&format!(" {requests} succeeded, 0 failed"))
                && said.contains(&format!("{requests} 2xx")),
            "h2load did not do {requests} requests:\n{said}"
        );
        Ok(())
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let gone = self.cluster.kubectl(&["delete", "namespace", self.name, "--wait=true", "--timeout=120s"]);
        if let Err(error) = gone {
            eprintln!("the namespace {} could not be deleted: {error:#}", self.name);
        }
    }
}

fn said(command: &mut Command) -> Result<String> {
    process::run_well(command, LIMIT)
}
