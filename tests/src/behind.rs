//! A real nginx behind proxies: what it takes for the client of each request is the truth.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{netns::Netns, nginx_process, poll, ports, process::Process, tool};

/// A running nginx, ended when dropped.
#[derive(Debug)]
pub struct Behind {
    _process: Process,
    directory: TempDir,
    /// Where it wants a PROXY header.
    pub proxied: u16,
    /// Where it trusts `X-Forwarded-For` of 127.0.0.1, 10.0.0.0/8 and `::1`.
    pub forwarded: u16,
    /// Where it passes requests on to [`Self::forwarded`], with the client added to `X-Forwarded-For`, over connections
    /// that it shares among all clients.
    pub front: u16,
}

impl Behind {
    /// Starts one in a network namespace.
    pub fn start(netns: &Netns) -> Result<Self> {
        tool::demand_root()?;
        let directory = TempDir::with_prefix("traffic-probe-behind-")?;
        let root = directory.path();
        let [proxied, forwarded, front] = [ports::free()?, ports::free()?, ports::free()?];
        let configuration = configuration(root, [proxied, forwarded, front]);
        let process = nginx_process::start(netns.command("nginx")?, root, &configuration)?;
        Ok(Self { _process: process, directory, proxied, forwarded, front })
    }

    /// The truth: the distinct clients of the requests that it answered at a port. Waits until it has logged so many.
    pub fn clients(&self, port: u16, requests: usize) -> Result<BTreeSet<IpAddr>> {
        let path = self.directory.path().join("access.log");
        let lines = poll::until(&format!("nginx to log {requests} requests"), || {
            let log = fs::read_to_string(&path)?;
            let lines: Vec<_> = log
                .lines()
                .filter_map(|line| line.strip_prefix(&format!("{port} ")).map(str::to_owned))
                .collect();
            Ok((lines.len() >= requests).then_some(lines))
        })?;
        anyhow::ensure!(lines.len() == requests, "{} requests were answered, not {requests}", lines.len());
        lines.iter().map(|line| line.parse().with_context(|| format!("a line of the log: {line}"))).collect()
    }
}

fn configuration(root: &Path, [proxied, forwarded, front]: [u16; 3]) -> String {
    let (temporary, root) = (nginx_process::temporary_files(root), root.display());
    format!(
        r#"
daemon off;
user root;
worker_processes 2;
pid {root}/pid;
events {{ worker_connections 4096; }}
http {{
    log_format client '$server_port $remote_addr';
    access_log {root}/access.log client;
    {temporary}
    keepalive_requests 1000000;
    set_real_ip_from 127.0.0.1;
    set_real_ip_from ::1;
    upstream shared {{ server 127.0.0.1:{forwarded}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{proxied} proxy_protocol;
        real_ip_header proxy_protocol;
        location / {{ return 200 "ok\n"; }}
    }}
    server {{
        listen {forwarded};
        set_real_ip_from 127.0.0.1;
        set_real_ip_from 10.0.0.0/8;
        real_ip_header X-Forwarded-For;
        real_ip_recursive on;
        location / {{ return 200 "ok\n"; }}
    }}
    server {{
        listen {front};
        listen [::]:{front} ipv6only=on;
        location / {{
            proxy_pass http://shared;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"#
    )
}

/// A running haproxy that passes connections on as they are, behind a PROXY header. Ended when dropped.
#[derive(Debug)]
pub struct Haproxy {
    _process: Process,
    _directory: TempDir,
    /// Where it listens, on the loopback addresses of both families.
    pub port: u16,
}

impl Haproxy {
    /// Starts one that adds this to its `server` line, as `send-proxy`.
    pub fn start(netns: &Netns, to: u16, how: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-haproxy-")?;
        let port = ports::free()?;
        let file = directory.path().join("haproxy.cfg");
        let text = format!(
            "global\n    maxconn 2000\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout client 30s\n    \
             timeout server 30s\nlisten all\n    bind 127.0.0.1:{port}\n    bind [::1]:{port}\n    \
             unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid\n    server one 127.0.0.1:{to} {how}\n"
        );
        fs::write(&file, text)?;
        let mut command = netns.command("haproxy")?;
        let mut process = Process::spawn(command.args(["-db", "-f"]).arg(&file))?;
        // To connect would count as a connection.
        poll::until("haproxy to listen", || {
            if let Some(status) = process.ended()? {
                bail!("haproxy ended with {status}: {}", process.stderr()?);
            }
            let listening = netns.inside(|| Ok(fs::read_to_string("/proc/thread-self/net/tcp")?))?;
            let wanted = format!(":{port:04X} 00000000:0000 0A");
            Ok(listening.contains(&wanted).then_some(()))
        })?;
        Ok(Self { _process: process, _directory: directory, port })
    }

    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> [SocketAddr; 2] {
        [
            SocketAddr::from(([127, 0, 0, 1], self.port)),
            SocketAddr::from(([0_u16, 0, 0, 0, 0, 0, 0, 1], self.port)),
        ]
    }
}
