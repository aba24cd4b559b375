//! The agent under test: the release build, as an operator starts it.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    bpf::Footprint,
    client::{Client, Request, Response},
    expect::Mark,
    machine::{self, Turn, Use},
    metrics::{Scrape, Series},
    netns::Netns,
    pins::PinDirectory,
    poll, ports,
    process::{Output, Process},
    tool,
};

/// What the agent says once it counts.
const READY: &str = "metrics at http://";

/// How long it may take to detach.
const GRACE: Duration = Duration::from_secs(10);

/// A running agent, ended when dropped. While there is one, the test has the machine: see [`machine`].
#[derive(Debug)]
pub struct Agent<'a> {
    process: Process,
    address: SocketAddr,
    netns: Option<&'a Netns>,
    footprint: Footprint,
    /// Connections made to it: it counts these, too, which tells how far it has come.
    connections: AtomicU32,
    pins: Option<&'a PinDirectory>,
    started: Duration,
    /// For its lock: there are others beside it.
    _lock: TempDir,
    // Last: the next test may start once the process has ended.
    _turn: Option<Turn>,
}

/// How an agent is to be started.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Time between two ticks.
    interval: String,
    flags: Vec<String>,
    /// What starts it in its stead, with its arguments; nothing, if it is started itself.
    behind: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
    netns: Option<&'a Netns>,
    pins: Option<&'a PinDirectory>,
    /// Whether what it says can be read.
    heard: bool,
    /// None where the caller has the machine already.
    usage: Option<Use>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        // Short ticks, since tests wait for them.
        let interval = "200ms".to_owned();
        let (flags, behind, variables) = (Vec::new(), Vec::new(), Vec::new());
        let usage = Some(Use::Shared);
        Self { interval, flags, behind, variables, netns: None, pins: None, heard: true, usage }
    }
}

impl<'a> Setup<'a> {
    /// With further flags.
    #[must_use]
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// Started by another program, which keeps its process number, and is given its command line behind its own arguments.
    #[must_use]
    pub fn behind(self, command: &[&str]) -> Self {
        Self { behind: command.iter().map(|&part| part.to_owned()).collect(), ..self }
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// With ticks this far apart, for one that is to see what happens between them.
    #[must_use]
    pub fn ticking_every(self, interval: &str) -> Self {
        Self { interval: interval.to_owned(), ..self }
    }

    /// In a network namespace.
    #[must_use]
    pub fn within(self, netns: &'a Netns) -> Self {
        Self { netns: Some(netns), ..self }
    }

    /// With its state pinned.
    #[must_use]
    pub fn pinned(self, pins: &'a PinDirectory) -> Self {
        Self { pins: Some(pins), ..self }
    }

    /// Without its log, which what starts it sends elsewhere.
    #[must_use]
    pub fn unheard(self) -> Self {
        Self { heard: false, ..self }
    }

    /// With no other test beside it, for one that measures time or bandwidth.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { usage: Some(Use::Alone), ..self }
    }

    /// For a caller that has taken the machine itself, and keeps it for longer than the agent lives.
    #[must_use]
    pub fn in_our_turn(self) -> Self {
        Self { usage: None, ..self }
    }

    /// Starts it, and waits until it has collected once.
    pub fn start(self) -> Result<Agent<'a>> {
        tool::demand_root()?;
        // A directory for pins has the machine for all its agents.
        let usage = self.usage.filter(|_| self.pins.is_none());
        let turn = usage.map(machine::take).transpose()?;
        let lock = tempfile::tempdir()?;
        let mut command = behind(&self.behind, &tool::agent()?);
        command.arg("run").args(["--interval", &self.interval]).args(&self.flags);
        command.envs(self.variables);
        // Whose log cannot be read does not say which one it took.
        let port = if self.heard { 0 } else { ports::free()? };
        match self.pins {
            Some(pins) => {
                command.arg("--pin").arg(pins.path()).arg("--lock").arg(pins.lock());
                // One that no earlier agent had: connections to that are among what is counted.
                command.args(["--listen", &format!("127.0.0.1:{}", ports::free()?)]);
            }
            None => {
                command.args(["--listen", &format!("127.0.0.1:{port}"), "--lock"]).arg(lock.path());
            }
        }
        if let Some(netns) = self.netns {
            netns.enter(&mut command)?;
        }
        let began = Instant::now();
        let mut process = Process::spawn(&mut command)?;
        let address = if self.heard {
            poll::until("the agent to say where its metrics are", || announced(&mut process))?
        } else {
            let address = ([127, 0, 0, 1], port).into();
            poll::until("the agent to answer", || answers(&mut process, address))?;
            address
        };
        let mut agent = Agent {
            process,
            address,
            netns: self.netns,
            footprint: Footprint::default(),
            connections: AtomicU32::new(0),
            pins: self.pins,
            started: began.elapsed(),
            _lock: lock,
            _turn: turn,
        };
        poll::until("the agent to be ready", || Ok((agent.get("/readyz")?.status == 200).then_some(())))?;
        agent.footprint = Footprint::of(agent.process.id())?;
        if let Some(pins) = agent.pins {
            pins.note(&agent.footprint);
        }
        Ok(agent)
    }
}

/// A command that starts a program, perhaps by another one.
fn behind(other: &[String], program: &Path) -> Command {
    let Some((first, arguments)) = other.split_first() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(arguments).arg(program);
    command
}

/// The address in its log; an error if it has ended instead.
fn announced(process: &mut Process) -> Result<Option<SocketAddr>> {
    let log = process.stderr()?;
    if let Some((_, rest)) = log.split_once(READY)
        && let Some((address, _)) = rest.split_once('/')
    {
        return Ok(Some(address.parse().context("the agent's address")?));
    }
    if let Some(status) = process.ended()? {
        bail!("the agent ended with {status}: {log}");
    }
    Ok(None)
}

/// Whether it accepts connections; an error if it has ended instead.
fn answers(process: &mut Process, address: SocketAddr) -> Result<Option<()>> {
    if let Some(status) = process.ended()? {
        bail!("the agent, whose log nobody reads, ended with {status}");
    }
    Ok(Client::connect(address).ok().map(drop))
}

impl Agent<'_> {
    /// Starts one as most tests need it.
    pub fn start() -> Result<Agent<'static>> {
        Setup::default().start()
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it holds in the kernel.
    #[must_use]
    pub fn footprint(&self) -> &Footprint {
        &self.footprint
    }

    /// How long it took until it counted.
    #[must_use]
    pub fn time_to_start(&self) -> Duration {
        self.started
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// Scrapes it.
    pub fn scrape(&self) -> Result<Scrape> {
        let response = self.get("/metrics")?;
        ensure!(response.status == 200, "/metrics answers {}", response.status);
        Scrape::parse(String::from_utf8(response.body)?)
    }

    /// Waits until it has collected anew after this moment, so that what has happened is in its figures.
    ///
    /// Seen by its own count of the connections that were made to it: one more than before can only be there once
    /// the kernel's tables were read later than that connection was made.
    pub fn collected(&self) -> Result<Scrape> {
        let opened = Series::named("traffic_connections_opened_total")
            .with("port", self.address.port())
            .with("role", "server");
        let until_now = self.connections.load(Ordering::Relaxed);
        poll::until("the agent to collect again", || {
            let scrape = self.scrape()?;
            // The first connection that this loop makes is already later than this moment.
            Ok((scrape.sum(&opened) > f64::from(until_now)).then_some(scrape))
        })
    }

    /// Takes the figures as they are once all that has happened until now is in them.
    pub fn mark(&self) -> Result<Mark<'_>> {
        Ok(Mark::new(self, self.collected()?))
    }

    /// Sends it a signal and waits until it ends; afterwards nothing of it may be left in the kernel but what is pinned.
    pub fn end(mut self, signal: Signal) -> Result<Output> {
        self.process.signal(signal)?;
        let output = self.process.wait(GRACE)?;
        self.leaves_nothing()?;
        Ok(output)
    }

    /// Kills it. What it held may stay, and is for the caller to look after.
    pub fn kill(mut self) -> Result<Footprint> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(GRACE)?;
        Ok(std::mem::take(&mut self.footprint))
    }

    /// Waits until nothing of it is in the kernel; what is pinned is the directory's to see to.
    fn leaves_nothing(&self) -> Result<()> {
        if self.pins.is_some() { Ok(()) } else { self.footprint.is_gone() }
    }

    /// Has it answer a request.
    pub fn get(&self, path: &str) -> Result<Response> {
        let exchange = || {
            let mut client = Client::connect(self.address).context("the agent does not answer")?;
            self.connections.fetch_add(1, Ordering::Relaxed);
            client.exchange(&Request::new("GET", path).header("Connection: close"))
        };
        match self.netns {
            Some(netns) => netns.inside(exchange),
            None => exchange(),
        }
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let ended: Result<ExitStatus> = self.process.terminate().map(|output| output.status);
        let left = self.leaves_nothing();
        if ended.is_err() || left.is_err() {
            crate::process::complain(&format!("the agent has not gone cleanly: {ended:?}, {left:?}"));
        }
    }
}
