//! What an exporter of Prometheus says.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    client::{Client, Request},
    metrics::{Scrape, Series},
    poll,
    process::Process,
};

/// A counter of the exporter that listens at a port of this machine; 0 if it does not have the series yet.
pub(crate) fn count(port: u16, series: &Series) -> Result<u64> {
    let mut client = Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let answer = client.exchange(&Request::new("GET", "/metrics").header("Connection: close"))?;
    ensure!(answer.status == 200, "the exporter at port {port} answers {}", answer.status);
    let scrape = Scrape::parse(String::from_utf8(answer.body).context("the exporter's answer")?)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter")]
    Ok(scrape.sum(series) as u64)
}

/// Waits until the program listens there.
pub(crate) fn ready(process: &mut Process, port: u16) -> Result<()> {
    poll::until("an exporter to listen", || {
        if let Some(status) = process.ended()? {
            anyhow::bail!("it ended with {status}: {}", process.stderr()?);
        }
        Ok(Client::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok().map(drop))
    })
}
