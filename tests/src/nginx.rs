//! A real nginx with a configuration of its own: an endpoint for each thing that tests ask for.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{netns::Netns, nginx_process, poll, ports, process::Process, tool};

/// Where Debian's package puts the module that can wait before it answers.
const ECHO_MODULE: &str = "/usr/lib/nginx/modules/ngx_http_echo_module.so";

/// Size of `/download`.
pub const DOWNLOAD: u64 = 64 << 20;

/// A running nginx, ended when dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl Nginx {
    /// Starts one; it listens on every address of both families.
    pub fn start() -> Result<Self> {
        Self::start_in(None)
    }

    /// Starts one in a network namespace.
    pub fn start_within(netns: &Netns) -> Result<Self> {
        Self::start_in(Some(netns))
    }

    fn start_in(netns: Option<&Netns>) -> Result<Self> {
        tool::demand_root()?;
        let directory = TempDir::with_prefix("traffic-probe-nginx-")?;
        let root = directory.path();
        let port = ports::free()?;
        fs::write(root.join("page"), "page\n")?;
        // A hole: it is sent from the page cache like any file, and takes no space.
        File::create(root.join("download"))?.set_len(DOWNLOAD)?;
        let mut command = tool::command("nginx")?;
        if let Some(netns) = netns {
            netns.enter(&mut command)?;
        }
        let process = nginx_process::start(command, root, &configuration(root, port)?)?;
        Ok(Self { process, port, directory })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its master process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its address on the loopback of IPv4.
    #[must_use]
    pub fn ipv4(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Its address on the loopback of IPv6.
    #[must_use]
    pub fn ipv6(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), self.port)
    }

    /// The truth: how many requests of each method and status it has answered. Waits until its log has so many lines
    /// in all, since it writes one only after the client has its answer.
    pub fn answered(&self, requests: usize) -> Result<BTreeMap<(String, u16), u64>> {
        let path = self.access_log();
        let log = poll::until(&format!("nginx to log {requests} requests"), || {
            let log = fs::read_to_string(&path)?;
            Ok((log.lines().count() >= requests).then_some(log))
        })?;
        let mut answered = BTreeMap::new();
        for line in log.lines() {
            let [method, status, ..] = words(line)?;
            *answered.entry((method.to_owned(), status.parse()?)).or_default() += 1;
        }
        Ok(answered)
    }

    /// The same by the client's address and status.
    pub fn answered_to(&self, requests: usize) -> Result<BTreeMap<(String, u16), u64>> {
        self.answered(requests)?;
        let mut answered = BTreeMap::new();
        for line in fs::read_to_string(self.access_log())?.lines() {
            let [_, status, _, client] = words(line)?;
            *answered.entry((client.to_owned(), status.parse()?)).or_default() += 1;
        }
        Ok(answered)
    }

    /// The truth: how long it took over each request that it has logged, from the first byte read to the last byte sent,
    /// in whole milliseconds.
    pub fn times(&self) -> Result<Vec<Duration>> {
        let log = fs::read_to_string(self.access_log())?;
        log.lines().map(|line| Ok(Duration::try_from_secs_f64(words(line)?[2].parse()?)?)).collect()
    }

    /// Ends it at once, its open connections with it.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.terminate().map(drop)
    }

    /// The truth: method and target of every request that it has answered, as the client sent the target. Waits until there
    /// are so many.
    pub fn targets(&self, requests: usize) -> Result<Vec<(String, String)>> {
        let path = self.directory.path().join("targets.log");
        let log = poll::until(&format!("nginx to log {requests} targets"), || {
            let log = fs::read_to_string(&path)?;
            Ok((log.lines().count() >= requests).then_some(log))
        })?;
        let both = |line: &str| {
            let (method, target) = line.split_once(' ').with_context(|| format!("no target: {line}"))?;
            Ok((method.to_owned(), target.to_owned()))
        };
        log.lines().map(both).collect()
    }

    fn access_log(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }
}

/// The words of a line of the access log.
fn words(line: &str) -> Result<[&str; 4]> {
    let words: Vec<_> = line.split(' ').collect();
    words.try_into().map_err(|_| anyhow!("a line of the access log: {line}"))
}

/// `user root`, since the directory is root's alone. The log is unbuffered: a line a request, at once.
fn configuration(root: &Path, port: u16) -> Result<String> {
    anyhow::ensure!(
        Path::new(ECHO_MODULE).is_file(),
        "nginx's echo module is not at {ECHO_MODULE}: `cargo xtask setup` installs what the tests start"
    );
    let (temporary, root) = (nginx_process::temporary_files(root), root.display());
    Ok(format!(
        r#"
load_module {ECHO_MODULE};
daemon off;
user root;
worker_processes 2;
pid {root}/pid;
events {{ worker_connections 8192; }}
http {{
    log_format counted '$request_method $status $request_time $remote_addr';
    access_log {root}/access.log counted;
    log_format targets '$request_method $request_uri';
    access_log {root}/targets.log targets;
    {temporary}
    sendfile on;
    keepalive_requests 1000000;
    client_max_body_size 64m;
    server {{
        listen {port};
        listen [::]:{port} ipv6only=on;
        root {root};
        if_modified_since before;
        location = /ok {{ return 200 "ok\n"; }}
        location = /broken {{ return 500 "broken\n"; }}
        location = /empty {{ return 204; }}
        location = /after-50ms {{ echo_sleep 0.050; echo "late"; }}
        location = /after-48ms {{ echo_sleep 0.048; echo "late"; }}
        location ~ "^/after/([0-9.]+)s$" {{ echo_sleep $1; echo "late"; }}
        location = /chunked {{ echo_duplicate 1000 "a line of no length that is told\n"; }}
        location = /upload {{ echo_read_request_body; echo "$content_length"; }}
    }}
}}
"#
    ))
}
