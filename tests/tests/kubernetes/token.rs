//! The service account's token: one that is not accepted any more, and the one that comes in its place.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    cluster::{CHART, Cluster, Namespace},
    machine::{self, Use},
    metrics::{Role, Scrape},
    process::Process,
    tool,
};
use tempfile::TempDir;

use crate::{
    names::{pod_of, requests},
    objects,
};

/// The release that the rights are rendered for; nothing of it runs but the agent that the test starts.
const RELEASE: &str = "token";
const ACCOUNT: &str = "token-traffic-probe";
const LISTEN: &str = "127.0.0.1:9465";

/// The chart's service account and its rights, taken away when dropped.
struct Rights<'a> {
    cluster: &'a Cluster,
    manifest: String,
}

impl<'a> Rights<'a> {
    fn grant(cluster: &'a Cluster) -> Result<Self> {
        let template = [
            "template",
            RELEASE,
            CHART,
            "--namespace",
            RELEASE,
            "--kube-version",
            "1.36.0",
            "-s",
            "templates/rbac.yaml",
        ];
        let manifest = cluster.helm(&template)?;
        cluster.apply(&manifest)?;
        Ok(Self { cluster, manifest })
    }

    /// Another account of the same name: tokens of the one before are worth nothing.
    fn replace_account(&self) -> Result<()> {
        self.cluster.kubectl(&["-n", RELEASE, "delete", "serviceaccount", ACCOUNT])?;
        self.cluster.apply(&self.manifest)
    }

    fn write_token(&self, file: &Path) -> Result<()> {
        let token = self.cluster.kubectl(&["-n", RELEASE, "create", "token", ACCOUNT])?;
        Ok(fs::write(file, token.trim())?)
    }
}

impl Drop for Rights<'_> {
    fn drop(&mut self) {
        for kind in ["clusterrolebinding", "clusterrole"] {
            if let Err(error) = self.cluster.kubectl(&["delete", kind, ACCOUNT]) {
                eprintln!("{kind} {ACCOUNT} could not be deleted: {error:#}");
            }
        }
    }
}

/// A kubeconfig that reads the token from a file, as a pod does.
fn kubeconfig(cluster: &Cluster, directory: &TempDir, token: &Path) -> Result<String> {
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

#[test]
fn a_token_that_is_refused_is_read_again_from_its_file() -> Result<()> {
    let cluster = Cluster::find()?;
    let _turn = machine::take(Use::Shared)?;
    let shop = Namespace::create(&cluster, RELEASE)?;
    shop.apply(&objects::idle("caller"))?;
    let caller = pod_of(&cluster, &shop, "caller")?;
    let rights = Rights::grant(&cluster)?;
    let directory = tempfile::tempdir()?;
    let token = directory.path().join("token");
    rights.write_token(&token)?;
    let kubeconfig = kubeconfig(&cluster, &directory, &token)?;
    let agent = tool::agent()?.display().to_string();
    let lock = directory.path().display().to_string();
    let flags = ["run", "--listen", LISTEN, "--kubernetes", "on", "--node-name", "node1", "--lock", &lock];
    let mut command: Command = cluster
        .on_node(&[&["env", &format!("KUBECONFIG={kubeconfig}"), agent.as_str()], &flags[..]].concat());
    command.env("RUST_BACKTRACE", "0");
    let process = Process::spawn(command.arg("--log-level=info,probe_user=debug"))?;
    let says = |what: &str| {
        cluster
            .until(&format!("the agent to say `{what}`"), || {
                Ok(process.stderr()?.contains(what).then_some(()))
            })
            .with_context(|| process.stderr().unwrap_or_default())
    };
    says("API server tells of the pods")?;

    rights.replace_account()?;
    cluster.stop("kube-apiserver")?;
    cluster.start("kube-apiserver")?;
    says("does not accept our token")?;
    cluster.until("the API server to be back", || Ok(cluster.kubectl(&["get", "--raw", "/readyz"]).ok()))?;
    rights.write_token(&token)?;
    says("tells again")?;
    // Beyond what it had heard of when it was cut off: so it has listed anew.
    shop.apply(&objects::nginx("web", 1))?;
    let web = pod_of(&cluster, &shop, "web")?;
    shop.send(&caller.name, "load", &web.address, 70, 2)?;
    let expected = [
        requests(RELEASE, "web", &web.name, "nginx", Role::Server),
        requests(RELEASE, "caller", &caller.name, "load", Role::Client),
    ];
    cluster.until("the requests under their names", || {
        let scrape = Scrape::parse(cluster.run(&["curl", "-sSf", &format!("http://{LISTEN}/metrics")])?)?;
        Ok(expected.iter().all(|series| scrape.sum(series) >= 70.0).then_some(()))
    })?;
    let log = process.stderr()?;
    ensure!(log.matches("does not accept our token").count() == 1, "it is said once: {log}");
    Ok(())
}
