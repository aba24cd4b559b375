//! TLS before something that does not speak it: a real nginx, with a certificate that an authority of the test's signed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use tempfile::TempDir;

use crate::{nginx_process, ports, process, process::Process, tool};

const LIMIT: Duration = Duration::from_secs(20);

/// A running front, ended when dropped.
#[derive(Debug)]
pub struct TlsFront {
    _process: Process,
    port: u16,
    directory: TempDir,
}

impl TlsFront {
    /// Starts one on the loopback of IPv4, which hands on what it is asked to `behind`.
    pub fn start(behind: SocketAddr) -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-tls-")?;
        let root = directory.path();
        certify(root)?;
        let port = ports::free()?;
        let configuration = configuration(root, port, behind);
        let process = nginx_process::start(tool::command("nginx")?, root, &configuration)?;
        Ok(Self { _process: process, port, directory })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The file with the certificate of the authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }
}

/// An authority, and a certificate that it gives for this machine.
fn certify(root: &Path) -> Result<()> {
    let request = |name: &str, more: &[&str]| {
        let mut command = tool::command("openssl")?;
        command.current_dir(root).args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ]);
        command.args(["-nodes", "-days", "1", "-subj", &format!("/CN={name}")]);
        command.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]).args(more);
        process::run_well(&mut command, LIMIT).map(drop)
    };
    request("authority", &[])?;
    let signed = ["-CA", "authority.pem", "-CAkey", "authority.key"];
    let extensions =
        ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    request("server", &[&signed[..], &extensions[..]].concat())
}

fn configuration(root: &Path, port: u16, behind: SocketAddr) -> String {
    let (temporary, root) = (nginx_process::temporary_files(root), root.display());
    format!(
        r"
daemon off;
user root;
worker_processes 1;
pid {root}/pid;
events {{ }}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {root}/server.pem;
        ssl_certificate_key {root}/server.key;
        location / {{ proxy_pass http://{behind}; }}
    }}
}}
"
    )
}
