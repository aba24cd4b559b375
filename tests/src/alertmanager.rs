//! A real Alertmanager with the shipped configuration and templates.

use std::{fs, net::SocketAddr};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::{
    client::{Client, Request},
    mail::MailServer,
    poll, ports,
    process::Process,
    rules::{of_repository, replaced},
    tool,
    webhook::Webhook,
};

/// A running Alertmanager, ended when dropped.
#[derive(Debug)]
pub struct Alertmanager {
    process: Process,
    address: SocketAddr,
    _directory: TempDir,
}

impl Alertmanager {
    /// Starts one that writes to these. Where it sends to, and how long it waits, is the test's; routes and templates are those
    /// that are shipped.
    pub fn start(mail: &MailServer, slack: &Webhook) -> Result<Self> {
        let directory = TempDir::with_prefix("traffic-probe-alertmanager-")?;
        let root = directory.path();
        let secret = root.join("slack-url");
        fs::write(&secret, format!("http://{}/services/T0/B0/secret", slack.address()))?;
        let mut config = fs::read_to_string(of_repository("deploy/alertmanager/alertmanager.yml"))?;
        for (from, to) in [
            ("smtp_smarthost: 127.0.0.1:25", format!("smtp_smarthost: {}", mail.address())),
            ("smtp_require_tls: true", "smtp_require_tls: false".into()),
            ("/etc/alertmanager/slack-url", secret.display().to_string()),
            ("group_wait: 30s", "group_wait: 1s".into()),
            ("group_wait: 10s", "group_wait: 1s".into()),
            ("group_interval: 5m", "group_interval: 1s".into()),
            (
                "templates/*.tmpl",
                of_repository("deploy/alertmanager/templates").join("*.tmpl").display().to_string(),
            ),
        ] {
            config = replaced(&config, from, &to)?;
        }
        let file = root.join("alertmanager.yml");
        fs::write(&file, config)?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let arguments = [
            format!("--config.file={}", file.display()),
            format!("--storage.path={}", root.join("data").display()),
            format!("--web.listen-address={address}"),
            "--cluster.listen-address=".into(),
        ];
        Self::run(&arguments, address, directory)
    }

    /// Starts one with these arguments, of which one is the address that it listens at; the directory is removed when it ends.
    pub fn run(arguments: &[String], address: SocketAddr, directory: TempDir) -> Result<Self> {
        let process = Process::spawn(tool::command("prometheus-alertmanager")?.args(arguments))?;
        let mut alertmanager = Self { process, address, _directory: directory };
        poll::until("Alertmanager to be ready", || {
            let ended = alertmanager.process.ended()?;
            ensure!(ended.is_none(), "Alertmanager has ended: {}", alertmanager.log()?);
            Ok(alertmanager.is_ready().then_some(()))
        })?;
        Ok(alertmanager)
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

    fn is_ready(&self) -> bool {
        let request = Request::new("GET", "/-/ready").header("Connection: close");
        let asked = Client::connect(self.address).and_then(|mut client| client.exchange(&request));
        asked.is_ok_and(|response| response.status == 200)
    }
}
