//! The observed servers, each on its CPU, as they are when nothing else is to be said: no log, one worker.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use anyhow::{Context, Result, bail};
use probe_tests::{
    client::{Client, Request},
    nginx_process, poll, ports,
    process::Process,
};
use tempfile::TempDir;

use super::load::Load;
use crate::cpu;

/// Size of `/large`.
const LARGE: u64 = 1 << 20;

/// A server, ended when dropped.
pub(crate) struct Server {
    process: Process,
    port: u16,
    http2: u16,
    /// Where nginx says how many requests it had.
    status: Option<u16>,
    directory: TempDir,
}

impl Server {
    /// Starts the one that a load is for.
    pub(crate) fn start(load: Load) -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-bench-")?;
        let port = ports::free()?;
        if load.is_redis() {
            return Self::redis(directory, port);
        }
        Self::nginx(directory, [port, ports::free()?, ports::free()?], None)
    }

    /// Starts an nginx that logs each request as it does by default, to a file that is there before.
    pub(crate) fn logging(log: &Path) -> Result<Self> {
        let ports = [ports::free()?, ports::free()?, ports::free()?];
        Self::nginx(TempDir::with_prefix("traffic-probe-bench-")?, ports, Some(log))
    }

    fn nginx(directory: TempDir, [port, http2, status]: [u16; 3], log: Option<&Path>) -> Result<Self> {
        let root = directory.path();
        let configuration = root.join("nginx.conf");
        fs::write(&configuration, nginx(root, [port, http2, status], log))?;
        File::create(root.join("large"))?.set_len(LARGE)?;
        let mut command = cpu::pinned(cpu::SERVER, "nginx")?;
        command.arg("-p").arg(root).arg("-c").arg(configuration).arg("-e").arg(root.join("error.log"));
        Self { process: Process::spawn(&mut command)?, port, http2, status: Some(status), directory }.ready()
    }

    fn redis(directory: TempDir, port: u16) -> Result<Self> {
        let mut command = cpu::pinned(cpu::SERVER, "redis-server")?;
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.arg("--dir").arg(directory.path());
        Self { process: Process::spawn(&mut command)?, port, http2: port, status: None, directory }.ready()
    }

    fn ready(mut self) -> Result<Self> {
        poll::until("the server to listen", || {
            if let Some(status) = self.process.ended()? {
                bail!("the server ended with {status}: {}", self.process.stderr()?);
            }
            Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).err().map(drop))
        })?;
        Ok(self)
    }

    /// Its process number: there are no others.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its port for HTTP/2.
    pub(crate) fn http2_port(&self) -> u16 {
        self.http2
    }

    /// Where it has its files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// How many requests it has had, this one among them; none if it does not tell.
    pub(crate) fn requests(&self) -> Result<Option<u64>> {
        let Some(port) = self.status else { return Ok(None) };
        let mut client = Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let answer = client.exchange(&Request::new("GET", "/").header("Connection: close"))?;
        let text = String::from_utf8(answer.body)?;
        // `server accepts handled requests`, and the three numbers in the next line.
        let numbers = text.lines().nth(2).context("nginx's status has no third line")?;
        let requests = numbers.split_whitespace().nth(2).context("nginx's status has no third number")?;
        Ok(Some(requests.parse()?))
    }
}

/// Without a log, which would be most of what it does, unless it is wanted; one process, so that its CPU time is all
/// there is.
fn nginx(root: &Path, [port, http2, status]: [u16; 3], log: Option<&Path>) -> String {
    let log = log.map_or("off".to_owned(), |log| format!("{} combined", log.display()));
    let (temporary, root) = (nginx_process::temporary_files(root), root.display());
    format!(
        r#"
daemon off;
master_process off;
user root;
pid {root}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {temporary}
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{http2} http2;
        access_log {log};
        root {root};
        location = /small {{ return 200 "ok\n"; }}
    }}
    server {{
        listen 127.0.0.1:{status};
        location / {{ stub_status; }}
    }}
}}
"#
    )
}
