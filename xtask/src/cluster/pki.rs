//! The cluster's certificates, made by openssl: an authority, the API server, its administrator, the node's kubelet.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use super::{API_SERVER, Cluster, NODE, NODE_ADDRESS};
use crate::exec;

/// They need to last as long as a cluster does.
const DAYS: &str = "30";

/// The key that service accounts' tokens are signed by.
pub(super) const ACCOUNTS: &str = "accounts.key";

/// Makes them all.
pub(super) fn make(cluster: &Cluster) -> Result<()> {
    let directory = cluster.file("pki");
    fs::create_dir(&directory).with_context(|| format!("could not create {}", directory.display()))?;
    let authority =
        Certificate { name: "ca", subject: "/CN=ca", extension: "basicConstraints=critical,CA:true" };
    authority.sign(cluster)?;
    let names = format!(
        "subjectAltName=IP:127.0.0.1,IP:{NODE_ADDRESS},IP:{API_SERVER},DNS:localhost,DNS:kubernetes.default.svc"
    );
    Certificate { name: "api", subject: "/CN=kube-apiserver", extension: &names }.sign(cluster)?;
    let client = "extendedKeyUsage=clientAuth";
    Certificate { name: "admin", subject: "/O=system:masters/CN=admin", extension: client }.sign(cluster)?;
    let node = format!("/O=system:nodes/CN=system:node:{NODE}");
    Certificate { name: "node", subject: &node, extension: client }.sign(cluster)?;
    let mut key = Command::new("openssl");
    quietly(key.args(["genrsa", "-out"]).arg(file(cluster, ACCOUNTS)).arg("2048"))
}

/// A file of them.
pub(super) fn file(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.file("pki").join(name)
}

struct Certificate<'a> {
    name: &'a str,
    subject: &'a str,
    extension: &'a str,
}

impl Certificate<'_> {
    /// Makes its key, and has the authority sign it; the authority signs itself.
    fn sign(&self, cluster: &Cluster) -> Result<()> {
        let file = |suffix: &str| file(cluster, &format!("{}.{suffix}", self.name));
        fs::write(file("extension"), self.extension)
            .with_context(|| format!("could not write {}", file("extension").display()))?;
        let mut request = Command::new("openssl");
        request.args([
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
            "-batch",
            "-subj",
        ]);
        request.arg(self.subject).arg("-keyout").arg(file("key")).arg("-out").arg(file("request"));
        quietly(&mut request)?;
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", DAYS, "-in"]).arg(file("request")).arg("-out").arg(file("crt"));
        sign.arg("-extfile").arg(file("extension"));
        if self.name == "ca" {
            sign.arg("-signkey").arg(file("key"));
        } else {
            let authority = |suffix| super::pki::file(cluster, &format!("ca.{suffix}"));
            sign.arg("-CA").arg(authority("crt")).arg("-CAkey").arg(authority("key")).arg("-CAcreateserial");
        }
        quietly(&mut sign)
    }
}

/// Runs openssl, which prints every dot; what it says is shown if it fails.
fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("could not start `{}`", exec::quoted(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::bail!("this command ended with {}: {}: {said}", output.status, exec::quoted(command))
}
