//! An agent whose listener has a web configuration, asked by curl as its users would.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{
    machine::{self, Turn, Use},
    pki::Authority,
    poll, ports,
    process::{self, Output, Process},
    prometheus::Prometheus,
    tool,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A running agent, with an authority for its certificates.
#[derive(Debug)]
pub struct Secured {
    process: Process,
    port: u16,
    scheme: &'static str,
    authority: Authority,
    _lock: TempDir,
    // Last: the next test may start once the process has ended.
    _turn: Turn,
}

/// What curl got.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Status line and fields, in lower case.
    pub head: String,
    /// The rest.
    pub body: String,
}

impl Secured {
    /// Starts one with this configuration. In its directory the authority is `authority.pem`, and there are certificates for
    /// 127.0.0.1 (`server.pem`, `server.key`), and for the client `scraper.example` (`scraper.pem`, `scraper.key`).
    pub fn start(configuration: &str) -> Result<Self> {
        tool::demand_root()?;
        let turn = machine::take(Use::Shared)?;
        let authority = Authority::new()?;
        authority.sign("server", "IP:127.0.0.1")?;
        authority.sign("scraper", "DNS:scraper.example")?;
        let file = authority.file("web.yml");
        fs::write(&file, configuration)?;
        let (port, lock) = (ports::free()?, tempfile::tempdir()?);
        let mut command = Command::new(tool::agent()?);
        command.args(["run", "--interval", "200ms", "--listen", &format!("127.0.0.1:{port}"), "--lock"]);
        command.arg(lock.path()).arg("--web.config.file").arg(&file);
        let mut process = Process::spawn(&mut command)?;
        let scheme = poll::until("the agent to say where its metrics are", || {
            let log = process.stderr()?;
            let scheme =
                ["https", "http"].into_iter().find(|scheme| log.contains(&format!("at {scheme}://")));
            match process.ended()? {
                Some(status) => bail!("the agent ended with {status}: {log}"),
                None => Ok(scheme),
            }
        })?;
        Ok(Self { process, port, scheme, authority, _lock: lock, _turn: turn })
    }

    /// Its port, on the loopback of IPv4.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// The authority, and its directory.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Writes a file of the configuration anew, as tools that rotate do: beside it, and over it.
    pub fn replace(&self, name: &str, text: &str) -> Result<()> {
        let new = self.authority.file(&format!("{name}.new"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.authority.file(name))?)
    }

    /// Starts a Prometheus with a configuration whose paths are relative to the authority's directory.
    pub fn scraped_by(&self, configuration: &str) -> Result<Prometheus> {
        let file = self.authority.file("prometheus.yml");
        fs::write(&file, configuration)?;
        let (port, data) = (ports::free()?, TempDir::with_prefix("traffic-probe-prometheus-")?);
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", data.path().display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        Prometheus::run(&arguments, ([127, 0, 0, 1], port).into(), data)
    }

    /// Has curl ask, trusting the authority, with further flags; fails unless there is an answer.
    pub fn ask(&self, path: &str, flags: &[&str]) -> Result<Answer> {
        let output = self.try_ask(path, flags)?;
        anyhow::ensure!(output.status.success(), "curl: {}", output.stderr);
        let (head, body) = output.stdout.split_once("\r\n\r\n").context("no head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    /// The same where there may be no answer.
    pub fn try_ask(&self, path: &str, flags: &[&str]) -> Result<Output> {
        let mut command = tool::command("curl")?;
        command.current_dir(self.authority.directory());
        command.args([
            "--silent",
            "--show-error",
            "--include",
            "--noproxy",
            "*",
            "--cacert",
            "authority.pem",
        ]);
        command.args(flags).arg(format!("{}://127.0.0.1:{}{path}", self.scheme, self.port));
        process::run(&mut command, LIMIT)
    }
}
