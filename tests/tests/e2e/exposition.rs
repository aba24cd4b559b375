//! The exposition, judged by Prometheus's own tool.

use std::{fs, process::Stdio};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    client::{Client, Request},
    metrics::{Role, Series},
    nginx::Nginx,
    tool,
};

#[test]
fn promtool_has_nothing_to_say() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let mut client = Client::connect(nginx.ipv4())?;
    for path in ["/ok", "/absent", "/broken", "/chunked"] {
        client.exchange(&Request::new("GET", path))?;
    }
    let scrape = mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), 4)))?;
    let file = nginx.directory().join("scrape.txt");
    fs::write(&file, &scrape.text)?;
    let output = tool::command("promtool")?
        .args(["check", "metrics"])
        .stdin(Stdio::from(fs::File::open(&file)?))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "promtool, {}: {said}", output.status);
    Ok(())
}
