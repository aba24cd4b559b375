//! Captures by a real tcpdump, and what `traffic-probe replay` makes of them.

use std::{
    fs::File,
    net::UdpSocket,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    netns::Netns,
    poll,
    process::{self, Process},
    tool,
};

/// What tcpdump says once packets are captured.
const READY: &str = "listening on ";

/// Ends a capture: nothing else on the loopback carries these bytes.
const MARKER: &[u8] = b"traffic-probe: everything before this is captured";

/// How far from the end of the file it is looked for.
const TAIL: usize = 64 << 10;

const LIMIT: Duration = Duration::from_mins(1);

/// A tcpdump that writes a file.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Process,
    directory: TempDir,
    port: u16,
}

/// A capture that lacks nothing.
#[derive(Debug)]
pub struct Captured {
    directory: TempDir,
    port: u16,
}

impl Capture {
    /// Starts to capture what goes to a port, and comes from it, on the loopback.
    pub fn start(port: u16) -> Result<Self> {
        Self::start_on("lo", port)
    }

    /// The same on an interface of tcpdump's, such as `any`.
    pub fn start_on(interface: &str, port: u16) -> Result<Self> {
        tool::demand_root()?;
        Self::start_by(tool::command("tcpdump")?, interface, &format!("port {port}"), port)
    }

    /// What passes an interface within a network namespace and a filter, of which the service at a port is expected.
    pub fn start_within(netns: &Netns, interface: &str, filter: &str, port: u16) -> Result<Self> {
        Self::start_by(netns.command("tcpdump")?, interface, filter, port)
    }

    fn start_by(mut command: Command, interface: &str, filter: &str, port: u16) -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-capture-")?;
        // 64 MiB of buffer; each packet is written at once; and no change of user, who could not write here.
        command.args([
            "-i",
            interface,
            "-B",
            "65536",
            "-U",
            "--time-stamp-precision=nano",
            "-Z",
            "root",
            "-w",
        ]);
        command.arg(file(&directory)).arg(filter);
        let mut tcpdump = Process::spawn(&mut command)?;
        poll::until("tcpdump to listen", || {
            if let Some(status) = tcpdump.ended()? {
                bail!("tcpdump ended with {status}: {}", tcpdump.stderr()?);
            }
            Ok(tcpdump.stderr()?.contains(READY).then_some(()))
        })?;
        Ok(Self { tcpdump, directory, port })
    }

    /// Ends it once everything until now is in the file, and makes sure that the kernel has dropped nothing.
    pub fn finish(self) -> Result<Captured> {
        let port = self.port;
        self.finish_behind(|marker| {
            _ = UdpSocket::bind("127.0.0.1:0")?.send_to(marker, ("127.0.0.1", port))?;
            Ok(())
        })
    }

    /// The same where some bytes have to be sent in another way to be captured, in a datagram that is no tunnel's.
    pub fn finish_behind(mut self, send: impl FnOnce(&[u8]) -> Result<()>) -> Result<Captured> {
        // Packets wait in a buffer between the kernel and tcpdump, in their order: once this one is through, all are.
        send(MARKER)?;
        poll::until("tcpdump to write its last packet", || {
            let file = File::open(file(&self.directory))?;
            let length = usize::try_from(file.metadata()?.len())?;
            // Others may have sent something since.
            let mut end = vec![0; TAIL.min(length)];
            let from = (length - end.len()) as u64;
            file.read_exact_at(&mut end, from)?;
            Ok(end.windows(MARKER.len()).any(|bytes| bytes == MARKER).then_some(()))
        })?;
        self.tcpdump.signal(Signal::SIGINT)?;
        let said = self.tcpdump.wait(LIMIT)?.stderr;
        let none_dropped = said.lines().any(|line| line == "0 packets dropped by kernel");
        ensure!(none_dropped, "the capture is not complete:\n{said}");
        println!("{}", said.trim_end());
        Ok(Captured { directory: self.directory, port: self.port })
    }
}

impl Captured {
    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        file(&self.directory)
    }

    /// What the replay tells of the service at the port; it must be the only one. Nothing may have been skipped but the
    /// packet that ended the capture.
    pub fn replayed(&self) -> Result<Value> {
        let output = process::run(&mut replay(&self.file())?, LIMIT)?;
        ensure!(output.status.success(), "replay ended with {}: {}", output.status, output.stderr);
        let mut report: Value = serde_json::from_str(&output.stdout).context("replay --format json")?;
        let skipped = report["capture"]["skipped"].clone();
        ensure!(skipped["udp"] == 1, "the packet that ended the capture was taken for another: {skipped}");
        let services = report["services"].as_array_mut().context("no services")?;
        ensure!(services.len() == 1, "not one service: {services:?}");
        let service = services.remove(0);
        let name = service["service"].as_str().unwrap_or_default();
        ensure!(name.ends_with(&format!(":{}", self.port)), "the service is {name}");
        Ok(service)
    }
}

/// `traffic-probe replay FILE --format json`
pub fn replay(file: &Path) -> Result<Command> {
    let mut command = Command::new(tool::agent()?);
    command.arg("replay").arg(file).args(["--format", "json"]);
    Ok(command)
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("capture.pcap")
}
