//! Load generators, bounded in requests and in time, and what they say that they did.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{netns::Netns, ports, process, process::Process, tool};

/// Nothing here takes longer on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// `h2load` over HTTP/1.1: so many requests, each of which must succeed with 2xx.
pub fn h2load(server: SocketAddr, path: &str, requests: u64, clients: u32) -> Result<()> {
    drive_h2load(tool::command("h2load")?, server, path, requests, clients)
}

/// The same from within a network namespace.
pub fn h2load_from(netns: &Netns, server: SocketAddr, path: &str, requests: u64, clients: u32) -> Result<()> {
    drive_h2load(netns.command("h2load")?, server, path, requests, clients)
}

fn drive_h2load(
    mut command: Command,
    server: SocketAddr,
    path: &str,
    requests: u64,
    clients: u32,
) -> Result<()> {
    command.args(["--h1", "-n", &requests.to_string(), "-c", &clients.to_string()]);
    // With an IPv6 address in the URI it sends `Host` without brackets, which nginx answers with 400.
    command.arg(format!("--connect-to={server}"));
    let said = process::run_well(command.arg(format!("http://test{path}")), LIMIT)?;
    let succeeded = said.contains(&format!(" {requests} succeeded, 0 failed"));
    ensure!(
        succeeded && said.contains(&format!("{requests} 2xx")),
        "h2load did not do {requests} requests:\n{said}"
    );
    Ok(())
}

/// `wrk` with pipelines of a depth, one a connection, each in a thread that stops after so many answers: a `wrk` that
/// is stopped by the clock instead leaves requests behind of which nobody knows whether they were answered.
pub fn wrk_pipelined(
    server: SocketAddr,
    path: &str,
    connections: u32,
    depth: u32,
    pipelines: u32,
    scratch: &Path,
) -> Result<u64> {
    let answers = depth * pipelines;
    let script = format!(
        r#"
local answers = 0
function init(args)
    local requests = {{}}
    for i = 1, {depth} do requests[i] = wrk.format("GET", "{path}") end
    pipeline = table.concat(requests)
end
function request() return pipeline end
function response()
    answers = answers + 1
    if answers == {answers} then wrk.thread:stop() end
end
"#
    );
    let file = scratch.join("pipeline.lua");
    fs::write(&file, script)?;
    let each = connections.to_string();
    let mut command = tool::command("wrk")?;
    command.args(["-t", &each, "-c", &each, "-d", "10s", "-s"]).arg(file);
    let said = process::run_well(command.arg(format!("http://{server}")), LIMIT)?;
    let done = u64::from(connections) * u64::from(answers);
    ensure!(
        said.contains(&format!(" {done} requests in ")) && !said.contains("Socket errors"),
        "wrk did not do {done} requests:\n{said}"
    );
    Ok(done)
}

/// Who sends in a run of `iperf3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A listening `iperf3`, ended when dropped.
#[derive(Debug)]
pub struct Iperf {
    port: u16,
    _server: Process,
}

/// What `iperf3` transferred.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Payload that the sender sent.
    pub sent: f64,
    /// Payload that the receiver received.
    pub received: f64,
}

/// Datagrams that `iperf3` sent.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    /// How many.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
}

impl Iperf {
    /// Starts one in a network namespace.
    pub fn start_within(netns: &Netns) -> Result<Self> {
        let port = ports::free()?;
        let mut command = netns.command("iperf3")?;
        command.args(["--server", "--forceflush", "--port", &port.to_string()]);
        let server = Process::spawn(&mut command)?;
        let table = "/proc/self/net/tcp6";
        crate::poll::until("iperf3 to listen", || {
            // To connect instead would be taken for a client.
            let sockets = netns.inside(|| Ok(fs::read_to_string(table.replace("self", "thread-self"))?))?;
            Ok(sockets.contains(&format!(":{port:04X} 0")).then_some(()))
        })?;
        Ok(Self { port, _server: server })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Transfers for three seconds.
    pub fn run(&self, from: &Netns, address: &str, sender: Sender) -> Result<Transfer> {
        self.drive(from, address, sender, &[])
    }

    /// The same by four connections, client and server on one CPU. Their windows are small, so that what is under way
    /// fits the queue that the kernel has for each CPU, and nothing is dropped.
    pub fn run_on(&self, cpu: u32, from: &Netns, address: &str, sender: Sender) -> Result<Transfer> {
        let affinity = format!("{cpu},{cpu}");
        self.drive(from, address, sender, &["--parallel", "4", "--window", "128K", "--affinity", &affinity])
    }

    /// The same at 100 Mbit/s with a small window, so that nothing is dropped where a frame is copied to many interfaces.
    pub fn run_gently(&self, from: &Netns, address: &str, sender: Sender) -> Result<Transfer> {
        self.drive(from, address, sender, &["--bitrate", "100M", "--window", "64K"])
    }

    /// Sends 20 MB in datagrams of 1,400 bytes, at 200 Mbit/s.
    pub fn run_datagrams(&self, from: &Netns, address: &str) -> Result<Datagrams> {
        let mut command = from.command("iperf3")?;
        command.args(["--json", "--udp", "--bytes", "20M", "--length", "1400", "--bitrate", "200M"]);
        command.args(["--port", &self.port.to_string(), "--client", address]);
        let said = process::run_well(&mut command, LIMIT)?;
        let json: serde_json::Value = serde_json::from_str(&said).context("iperf3 --json")?;
        let number = |name: &str| {
            json["end"]["sum"][name].as_u64().with_context(|| format!("iperf3 tells no {name}: {said}"))
        };
        Ok(Datagrams { packets: number("packets")?, bytes: number("bytes")? })
    }

    fn drive(&self, from: &Netns, address: &str, sender: Sender, flags: &[&str]) -> Result<Transfer> {
        let mut command = from.command("iperf3")?;
        command.args(["--json", "--time", "3", "--port", &self.port.to_string()]).args(flags);
        command.args(["--client", address]);
        if sender == Sender::Server {
            command.arg("--reverse");
        }
        let said = process::run_well(&mut command, LIMIT)?;
        let json: serde_json::Value = serde_json::from_str(&said).context("iperf3 --json")?;
        let bytes = |sum: &str| {
            json["end"][sum]["bytes"].as_f64().with_context(|| format!("iperf3 tells no {sum}: {said}"))
        };
        Ok(Transfer { sent: bytes("sum_sent")?, received: bytes("sum_received")? })
    }
}
