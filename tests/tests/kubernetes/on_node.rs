//! An agent that a test runs on the node itself, as the chart's service account: it can be stopped, and its token be changed,
//! without a kubelet that sets it right.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use probe_tests::{
    cluster::{CHART, Cluster},
    machine::{self, Turn, Use},
    metrics::{Scrape, Series},
    process::Process,
    tool,
};
use tempfile::TempDir;

const LISTEN: &str = "127.0.0.1:9465";

/// The chart's service account and its rights, taken away when dropped. Nothing else of the release is there.
struct Rights<'a> {
    cluster: &'a Cluster,
    release: &'static str,
    manifest: String,
}

impl<'a> Rights<'a> {
    fn grant(cluster: &'a Cluster, release: &'static str) -> Result<Self> {
        let of_release = ["template", release, CHART, "--namespace", release];
        let rights = ["--kube-version", "1.36.0", "-s", "templates/rbac.yaml"];
        let manifest = cluster.helm(&[&of_release[..], &rights].concat())?;
        cluster.apply(&manifest)?;
        Ok(Self { cluster, release, manifest })
    }

    fn account(&self) -> String {
        format!("{}-traffic-probe", self.release)
    }
}

impl Drop for Rights<'_> {
    fn drop(&mut self) {
        let account = self.account();
        for kind in ["clusterrolebinding", "clusterrole"] {
            if let Err(error) = self.cluster.kubectl(&["delete", kind, &account]) {
                eprintln!("{kind} {account} could not be deleted: {error:#}");
            }
        }
    }
}

/// The agent.
pub struct Agent<'a> {
    process: Process,
    rights: Rights<'a>,
    token: PathBuf,
    _directory: TempDir,
    _turn: Turn,
}

impl<'a> Agent<'a> {
    /// Starts it with the rights of a release, in whose namespace its account is.
    pub fn start(cluster: &'a Cluster, release: &'static str) -> Result<Self> {
        let turn = machine::take(Use::Shared)?;
        let rights = Rights::grant(cluster, release)?;
        let directory = tempfile::tempdir()?;
        let token = directory.path().join("token");
        write_token(&rights, &token)?;
        let kubeconfig = kubeconfig(cluster, &directory, &token)?;
        let agent = tool::agent()?.display().to_string();
        let lock = directory.path().display().to_string();
        let flags =
            ["run", "--listen", LISTEN, "--kubernetes", "on", "--node-name", "node1", "--lock", &lock];
        let variable = format!("KUBECONFIG={kubeconfig}");
        let mut command: Command = cluster.on_node(&[&["env", &variable, &agent], &flags[..]].concat());
        command.env("RUST_BACKTRACE", "0");
        let process = Process::spawn(command.arg("--log-level=info,probe_user=debug"))?;
        let agent = Self { process, rights, token, _directory: directory, _turn: turn };
        agent.says("receiving the pods")?;
        Ok(agent)
    }

    /// Waits until it has said something.
    pub fn says(&self, what: &str) -> Result<()> {
        self.rights
            .cluster
            .until(&format!("the agent to say `{what}`"), || Ok(self.log()?.contains(what).then_some(())))
            .with_context(|| self.log().unwrap_or_default())
    }

    /// All that it has said.
    pub fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// Keeps it from doing anything; the kernel goes on counting.
    pub fn stop(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn go_on(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// Another account of the same name: tokens of the one before are worth nothing.
    pub fn replace_account(&self) -> Result<()> {
        let Rights { cluster, release, manifest } = &self.rights;
        cluster.kubectl(&["-n", release, "delete", "serviceaccount", &self.rights.account()])?;
        cluster.apply(manifest)
    }

    /// Gives it a token that is accepted.
    pub fn renew_token(&self) -> Result<()> {
        write_token(&self.rights, &self.token)
    }

    /// Waits until series have these values, and makes sure that none has more.
    pub fn counts(&self, expected: &[(Series, u64)]) -> Result<()> {
        let cluster = self.rights.cluster;
        let page = format!("http://{LISTEN}/metrics");
        let differences = || -> Result<Vec<String>> {
            let scrape = Scrape::parse(cluster.run(&["curl", "-sSf", &page])?)?;
            let sums = expected.iter().map(|(series, count)| (series, scrape.sum(series), *count as f64));
            let wrong = sums.filter(|(_, is, count)| (is - count).abs() > f64::EPSILON);
            Ok(wrong.map(|(series, is, count)| format!("{series} is {is}, not {count}")).collect())
        };
        let mut last = Vec::new();
        let counted = cluster.until("the requests under their names", || {
            last = differences()?;
            Ok(last.is_empty().then_some(()))
        });
        counted.with_context(|| format!("{}\n{}", last.join("; "), self.log().unwrap_or_default()))
    }
}

fn write_token(rights: &Rights<'_>, file: &PathBuf) -> Result<()> {
    let Rights { cluster, release, .. } = rights;
    let token = cluster.kubectl(&["-n", release, "create", "token", &rights.account()])?;
    Ok(fs::write(file, token.trim())?)
}

/// A kubeconfig that reads the token from a file, as a pod does.
fn kubeconfig(cluster: &Cluster, directory: &TempDir, token: &std::path::Path) -> Result<String> {
    let of_cluster = |field: &str| {
        let format = format!("jsonpath={{.clusters[0].cluster.{field}}}");
        cluster.kubectl(&["config", "view", "--raw", "--flatten", "-o", &format])
    };
    let text = format!(
        "apiVersion: v1\n\
         kind: Config\n\
         current-context: here\n\
         contexts: [{{name: here, context: {{cluster: here, user: probe}}}}]\n\
         clusters: [{{name: here, cluster: {{server: '{}', certificate-authority-data: {}}}}}]\n\
         users: [{{name: probe, user: {{tokenFile: {}}}}}]\n",
        of_cluster("server")?.trim(),
        of_cluster("certificate-authority-data")?.trim(),
        token.display()
    );
    let file = directory.path().join("kubeconfig");
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}
