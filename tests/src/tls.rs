//! TLS before something that does not speak it: a real nginx, with a certificate that an authority of the test's signed.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{nginx_process, pki::Authority, ports, process::Process, tool};

/// A running front, ended when dropped.
#[derive(Debug)]
pub struct TlsFront {
    _process: Process,
    port: u16,
    authority: Authority,
}

impl TlsFront {
    /// Starts one on the loopback of IPv4, which hands on what it is asked to `behind`.
    pub fn start(behind: SocketAddr) -> Result<Self> {
        let authority = Authority::new()?;
        authority.sign("server", "IP:127.0.0.1")?;
        let root = authority.directory();
        let port = ports::free()?;
        let configuration = configuration(root, port, behind);
        let process = nginx_process::start(tool::command("nginx")?, root, &configuration)?;
        Ok(Self { _process: process, port, authority })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The file with the certificate of the authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.authority.file("authority.pem")
    }
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
