//! Connects that fail before a packet leaves: rules of the host's own firewall reject or drop it, as those for a service without
//! endpoints do.

use std::{fmt::Write, io::ErrorKind, net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    metrics::{Role, Series},
    netns::Netns,
    ports, process,
};

const LIMIT: Duration = Duration::from_secs(20);
const CONNECTS: u64 = 3;
/// When a client gives up. A connect that is rejected by ICMP is told so when it sends its SYN again, a second later.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// What a rule does with what is sent, and what a client that connects is told.
const RULES: [(&str, ErrorKind); 3] = [
    ("reject with tcp reset", ErrorKind::ConnectionRefused),
    ("reject", ErrorKind::ConnectionRefused),
    ("drop", ErrorKind::TimedOut),
];

#[test]
fn connects_that_the_hosts_own_rules_stop_are_failures() -> Result<()> {
    let netns = Netns::new()?;
    let mut cases = Vec::new();
    let mut rules = "table inet test {\n chain output {\n  type filter hook output priority 0;\n".to_owned();
    for (rule, told) in RULES {
        for address in ["127.0.0.1", "::1"] {
            let server = SocketAddr::new(address.parse()?, ports::free()?);
            writeln!(rules, "  tcp dport {} {rule}", server.port())?;
            cases.push((server, told));
        }
    }
    rules += " }\n}\n";
    process::run_well(netns.command("nft")?.arg(&rules), LIMIT)?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    netns.inside(|| {
        for (server, told) in &cases {
            for _ in 0..CONNECTS {
                let error = std::net::TcpStream::connect_timeout(server, PATIENCE).err();
                ensure!(error.as_ref().is_some_and(|error| error.kind() == *told), "{server}: {error:?}");
            }
        }
        Ok(())
    })?;
    let series = |name, server: &SocketAddr| Series::at(name, server.port(), Role::Client);
    let expected: Vec<_> = cases
        .iter()
        .flat_map(|(server, _)| {
            [
                (series("traffic_connection_failures_total", server), CONNECTS),
                (series("traffic_connections_opened_total", server), 0),
            ]
        })
        .collect();
    let scrape = mark.rises_by_exactly(&expected)?;
    for (server, _) in &cases {
        let failures = series("traffic_connection_failures_total", server);
        let services = scrape.values(&failures, "service");
        ensure!(!services.contains(&"other") && services.len() == 1, "{server}: {services:?}");
    }
    Ok(())
}
