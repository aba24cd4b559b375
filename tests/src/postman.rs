//! Postman collections that tests make, and `traffic-probe monitor`, which runs them.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Client, Request},
    metrics::Scrape,
    newman, poll, ports,
    process::{self, Output, Process},
    tool,
};

/// The longest run of newman in a test, on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// A collection in a file, gone with this.
#[derive(Debug)]
pub struct Collection {
    directory: TempDir,
    items: Vec<Value>,
    name: String,
}

impl Collection {
    /// One without requests.
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self {
            directory: TempDir::with_prefix("traffic-probe-collection-")?,
            items: Vec::new(),
            name: name.into(),
        })
    }

    /// With a further request to `{{baseUrl}}`, in a folder if there is one before its name (`Orders/list`), and lines of its
    /// test script.
    #[must_use]
    pub fn request(mut self, name: &str, method: &str, path: &str, tests: &[&str]) -> Self {
        let item = |name: &str| {
            json!({
                "name": name,
                "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": tests}}],
                "request": {"method": method, "url": format!("{{{{baseUrl}}}}{path}")},
            })
        };
        self.items.push(match name.split_once('/') {
            Some((folder, name)) => json!({"name": folder, "item": [item(name)]}),
            None => item(name),
        });
        self
    }

    /// Writes it.
    pub fn write(&self) -> Result<PathBuf> {
        let file = self.directory.path().join("collection.json");
        let schema = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json";
        let collection = json!({"info": {"name": self.name, "schema": schema}, "item": self.items});
        fs::write(&file, serde_json::to_vec_pretty(&collection)?)?;
        Ok(file)
    }

    /// The command that runs it against a server, with newman as the tests have it.
    pub fn monitor(&self, server: SocketAddr) -> Result<Command> {
        let mut command = Command::new(tool::agent()?);
        command.arg("monitor").arg(self.write()?).arg("--newman").arg(newman::program()?);
        command.args(["--env-var", &format!("baseUrl=http://{server}")]);
        Ok(command)
    }

    /// Runs it once.
    pub fn once(&self, server: SocketAddr, flags: &[&str]) -> Result<Output> {
        process::run(self.monitor(server)?.arg("--once").args(flags), LIMIT)
    }
}

/// A monitor that goes on, ended when dropped.
#[derive(Debug)]
pub struct Monitor {
    process: Process,
    address: SocketAddr,
}

impl Monitor {
    /// Starts one that runs a collection against a server.
    pub fn start(collection: &Collection, server: SocketAddr, flags: &[&str]) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut command = collection.monitor(server)?;
        command.args(["--listen", &address.to_string()]).args(flags);
        let mut process = Process::spawn(&mut command)?;
        poll::until_within(LIMIT, "the monitor to say where its metrics are", || {
            if let Some(status) = process.ended()? {
                bail!("the monitor ended with {status}: {}", process.stderr()?);
            }
            Ok(process.stderr()?.contains("metrics at http://").then_some(()))
        })?;
        Ok(Self { process, address })
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        self.process.stderr()
    }

    /// What it answers at a path.
    pub fn get(&self, path: &str) -> Result<String> {
        let request = Request::new("GET", path).header("Connection: close");
        let response = Client::connect(self.address)?.exchange(&request)?;
        ensure!(response.status == 200, "{path} answers {}", response.status);
        String::from_utf8(response.body).context("text")
    }

    /// Its metrics once they have something.
    pub fn when(&self, what: &str, has: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
        poll::until_within(LIMIT, what, || {
            let scrape = Scrape::parse(self.get("/metrics")?)?;
            Ok(has(&scrape).then_some(scrape))
        })
    }

    /// Ends it by SIGTERM.
    pub fn end(mut self) -> Result<Output> {
        self.process.signal(Signal::SIGTERM)?;
        self.process.wait(Duration::from_secs(10))
    }
}
