//! Processes that have gone before the agent looks.

use std::{net::UdpSocket, process::Command, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Setup,
    metrics::{Role, Series},
    nginx::Nginx,
    process,
};

const SHORT_JOB: &str = env!("CARGO_BIN_EXE_short_job");
const LIMIT: Duration = Duration::from_secs(20);

/// The threads have names, and the process another, which nothing but the kernel knows by the time the agent looks.
#[test]
fn a_job_that_lives_less_than_a_tick_has_the_name_of_its_process() -> Result<()> {
    let agent = Setup::default().ticking_every("5s").start()?;
    let nginx = Nginx::start()?;
    let receiver = UdpSocket::bind("127.0.0.1:0")?;
    let port = receiver.local_addr()?.port();
    let mark = agent.mark()?;
    let mut command = Command::new(SHORT_JOB);
    command.args([nginx.ipv4().to_string(), receiver.local_addr()?.to_string()]);
    process::run_well(&mut command, LIMIT)?;
    let of_job = |name, port| Series::at(name, port, Role::Client).with("service", "short_job");
    let scrape = mark.rises_by_exactly(&[
        (of_job("traffic_requests_total", nginx.port()), 50),
        (of_job("traffic_connections_opened_total", nginx.port()), 5),
        (of_job("traffic_packets_total", port).with("direction", "transmit"), 5),
    ])?;
    for (name, port) in [("traffic_connections_opened_total", nginx.port()), ("traffic_packets_total", port)]
    {
        let services = scrape.values(&Series::at(name, port, Role::Client), "service");
        ensure!(services.iter().all(|service| *service == "short_job"), "{name}: {services:?}");
    }
    Ok(())
}
