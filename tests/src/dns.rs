//! A real DNS server, and real clients of it.

use std::{fmt::Write as _, fs, io::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{poll, ports, process, process::Process, tool};

/// Nothing here takes longer on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// A running `dnsmasq` that answers for every name below `x.test`, ended when dropped.
#[derive(Debug)]
pub struct Dnsmasq {
    address: SocketAddr,
    _process: Process,
}

/// What `dnsperf` sent and received.
#[derive(Clone, Copy, Debug)]
pub struct Queries {
    /// Queries, each of which was answered.
    pub count: u64,
    /// Bytes of each query.
    pub query: u64,
    /// Bytes of each answer.
    pub answer: u64,
}

impl Dnsmasq {
    /// Starts one.
    pub fn start() -> Result<Self> {
        let port = ports::free()?;
        let mut command = tool::command("dnsmasq")?;
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"]);
        command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1"]);
        command.args(["--address=/x.test/192.0.2.1", &format!("--port={port}")]);
        let mut process = Process::spawn(&mut command)?;
        poll::until("dnsmasq to serve", || {
            ensure!(process.ended()?.is_none(), "dnsmasq has ended: {}", process.stderr()?);
            Ok(fs::read_to_string("/proc/net/udp")?.contains(&format!("0100007F:{port:04X} ")).then_some(()))
        })?;
        Ok(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// So many queries by `dnsperf`, over four sockets.
    pub fn query(&self, count: u64) -> Result<Queries> {
        let mut names = String::new();
        for number in 0..count {
            writeln!(names, "a{number:05}.x.test A")?;
        }
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(names.as_bytes())?;
        let mut command = tool::command("dnsperf")?;
        command.args(["-s", "127.0.0.1", "-p", &self.port().to_string(), "-n", "1", "-c", "4", "-d"]);
        let said = process::run_well(command.arg(file.path()), LIMIT)?;
        let number = |what: &str| -> Result<u64> {
            let (_, rest) =
                said.split_once(what).with_context(|| format!("dnsperf tells no {what}: {said}"))?;
            let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            digits.parse().with_context(|| format!("{what} of dnsperf: {said}"))
        };
        let (sent, answered) = (number("Queries sent:")?, number("Queries completed:")?);
        ensure!(
            (sent, answered) == (count, count),
            "{sent} were sent, {answered} answered, of {count}: {said}"
        );
        Ok(Queries { count, query: number("request ")?, answer: number("response ")? })
    }

    /// A query by `dig` over TCP.
    pub fn query_by_tcp(&self) -> Result<()> {
        let mut command = tool::command("dig")?;
        command.args(["@127.0.0.1", "-p", &self.port().to_string(), "+tcp", "+short", "a.x.test"]);
        let said = process::run_well(&mut command, LIMIT)?;
        ensure!(said.trim() == "192.0.2.1", "dig says {said}");
        Ok(())
    }
}
