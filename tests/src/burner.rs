//! A server that uses as much CPU time or memory as it is asked to: a few lines of Perl, which every Debian has.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use crate::{
    client::{Client, Request},
    poll, ports,
    process::Process,
    tool,
};

/// Its arguments: address and port. `clock` is the process's own CPU time. A string is filled with zeros as far as the
/// byte that is set.
const SCRIPT: &str = r#"
use strict; use warnings; use Socket; use Time::HiRes qw(clock);
my ($address, $port) = @ARGV;
$0 = 'burner';
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1) or die "reuse address: $!";
bind($listener, sockaddr_in($port, inet_aton($address))) or die "bind: $!";
listen($listener, 128) or die "listen: $!";
syswrite(STDERR, "ready\n");
my $held = '';
while (accept(my $client, $listener)) {
    my $head = '';
    while ($head !~ /\r\n\r\n/) { sysread($client, $head, 4096, length $head) or last }
    if ($head =~ m{^GET /burn/([0-9.]+) }) { my $end = clock() + $1; 1 while clock() < $end }
    if ($head =~ m{^GET /hold/([0-9]+) }) { vec($held, $1 - 1, 8) = 1 }
    syswrite($client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    close $client;
}
"#;

/// A running one, ended when dropped.
#[derive(Debug)]
pub struct Burner {
    process: Process,
    address: SocketAddr,
}

impl Burner {
    /// Starts one on the loopback of IPv4.
    pub fn start(prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<Self> {
        Self::start_at(ports::free()?, prepare)
    }

    /// Starts one at a port that is nobody else's.
    pub fn start_at(port: u16, prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<Self> {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let mut command = tool::command("perl")?;
        command.args(["-e", SCRIPT, &address.ip().to_string(), &port.to_string()]);
        prepare(&mut command)?;
        let mut process = Process::spawn(&mut command)?;
        poll::until("the burner to listen", || {
            if let Some(status) = process.ended()? {
                bail!("the burner ended with {status}: {}", process.stderr()?);
            }
            Ok(process.stderr()?.contains("ready").then_some(()))
        })?;
        Ok(Self { process, address })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Has it use so much CPU time, and waits until it has.
    pub fn burn(&self, time: Duration) -> Result<()> {
        self.ask(&format!("/burn/{}", time.as_secs_f64()))
    }

    /// Has it take and fill so many bytes, and keep them.
    pub fn hold(&self, bytes: u64) -> Result<()> {
        self.ask(&format!("/hold/{bytes}"))
    }

    fn ask(&self, path: &str) -> Result<()> {
        let response = Client::connect(self.address)?.exchange(&Request::new("GET", path))?;
        ensure!(response.status == 200, "the burner answers {}", response.status);
        Ok(())
    }

    /// The truth: its CPU time in seconds, by the kernel's clock of the process.
    pub fn cpu_time(&self) -> Result<f64> {
        Ok(Duration::from(clock_gettime(clock_getcpuclockid(self.pid()?)?)?).as_secs_f64())
    }

    /// Has it run on this CPU alone.
    pub fn pin(&self, cpu: usize) -> Result<()> {
        let mut cpus = CpuSet::new();
        cpus.set(cpu)?;
        Ok(sched_setaffinity(self.pid()?, &cpus)?)
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.process.id())?))
    }
}
