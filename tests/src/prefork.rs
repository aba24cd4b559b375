//! A server whose master opens the socket, and whose workers, processes with a task name of their own, serve: a few lines
//! of Perl, which every Debian has, since no packaged server lets a test choose the names of its tasks.

use std::{net::SocketAddr, process::Command};

use anyhow::{Result, bail, ensure};

use crate::{
    client::{Client, Request},
    poll,
    process::Process,
    tool,
};

/// Its arguments: the master's name, the workers' name, how many, address, port, and the cgroup that workers enter.
const SCRIPT: &str = r#"
use strict; use warnings; use Socket;
my ($name, $worker, $workers, $address, $port, $door) = @ARGV;
$0 = $name;
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($listener, SOL_SOCKET, SO_REUSEADDR, 1) or die "reuse address: $!";
setsockopt($listener, SOL_SOCKET, SO_REUSEPORT, 1) or die "reuse port: $!";
bind($listener, sockaddr_in($port, inet_aton($address))) or die "bind: $!";
listen($listener, 128) or die "listen: $!";
my @children;
$SIG{TERM} = sub { kill 'TERM', @children; waitpid($_, 0) for @children; exit 0 };
for (1 .. $workers) {
    my $child = fork() // die "fork: $!";
    if ($child) { push @children, $child; next }
    $SIG{TERM} = 'DEFAULT';
    $0 = $worker;
    if ($door) { open(my $file, '>', $door) or die "cgroup: $!"; syswrite($file, $$) or die "cgroup: $!" }
    syswrite(STDERR, "ready\n");
    while (accept(my $client, $listener)) {
        my $head = '';
        while ($head !~ /\r\n\r\n/) { sysread($client, $head, 4096, length $head) or last }
        my $length = length $name;
        syswrite($client, "HTTP/1.1 200 OK\r\nContent-Length: $length\r\nConnection: close\r\n\r\n$name");
        close $client;
    }
    exit 1;
}
sleep 1 while 1;
"#;

/// How to start one.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The task name of its master, and what it answers.
    pub master: String,
    /// That of its workers.
    pub worker: &'static str,
    /// How many.
    pub workers: usize,
    /// Where it listens. Others may do so too.
    pub address: SocketAddr,
    /// The file to which a worker writes to enter a cgroup of its own.
    pub door: Option<std::path::PathBuf>,
}

impl Setup {
    /// Two workers, in the master's cgroup.
    #[must_use]
    pub fn new(master: &str, address: SocketAddr) -> Self {
        Self { master: master.to_owned(), worker: "a-worker", workers: 2, address, door: None }
    }
}

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct Prefork {
    process: Process,
    address: SocketAddr,
}

impl Prefork {
    /// Starts one, after its command was prepared: to be in a cgroup, or in a network namespace.
    pub fn start(setup: &Setup, prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<Self> {
        let mut command = tool::command("perl")?;
        command.args(["-e", SCRIPT, &setup.master, setup.worker, &setup.workers.to_string()]);
        command.args([setup.address.ip().to_string(), setup.address.port().to_string()]);
        if let Some(door) = &setup.door {
            command.arg(door);
        }
        prepare(&mut command)?;
        let mut process = Process::spawn(&mut command)?;
        poll::until("the workers to be ready", || {
            let said = process.stderr()?;
            if let Some(status) = process.ended()? {
                bail!("the server ended with {status}: {said}");
            }
            Ok((said.matches("ready\n").count() == setup.workers).then_some(()))
        })?;
        Ok(Self { process, address: setup.address })
    }

    /// The number of its master.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it once, and says what it answered.
    pub fn ask(&self) -> Result<String> {
        ask(self.address)
    }
}

/// Asks whoever listens there once, and says what it answered.
pub fn ask(address: SocketAddr) -> Result<String> {
    let answer = Client::connect(address)?.exchange(&Request::new("GET", "/"))?;
    ensure!(answer.status == 200, "the server answers {}", answer.status);
    Ok(String::from_utf8(answer.body)?)
}
