//! Servers and connections that were there before the agent.

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    client::{Client, Request},
    expect::gauges_are,
    load,
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
};

#[test]
fn a_server_older_than_the_agent_is_counted_by_its_name() -> Result<()> {
    let nginx = Nginx::start()?;
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    load::h2load(nginx.ipv4(), "/ok", 1000, 10)?;
    let all = Series::requests(nginx.port(), Role::Server);
    let named = all.clone().with("service", "nginx").with("method", "GET").with("status", 200);
    let connections = Series::at("traffic_connections_opened_total", nginx.port(), Role::Server);
    mark.rises_by_exactly(&[(all, 1000), (named, 1000), (connections.with("service", "nginx"), 10)])?;
    Ok(())
}

/// Those that say nothing are found in the kernel's tables, in a network namespace of their own too; what they ask later is
/// counted from the first request on.
#[test]
fn a_thousand_connections_are_known_within_a_second() -> Result<()> {
    const KEPT: u64 = 1000;
    let netns = Netns::new()?;
    let nginx = Nginx::start_within(&netns)?;
    let request = Request::new("GET", "/ok");
    let mut kept = Vec::new();
    netns.inside(|| {
        for address in [nginx.ipv4(), nginx.ipv6()].into_iter().cycle().take(usize::try_from(KEPT)?) {
            let mut client = Client::connect(address)?;
            client.exchange(&request)?;
            kept.push(client);
        }
        Ok(())
    })?;
    let agent = Agent::start()?;
    // It has just collected for the first time.
    let scrape = agent.scrape()?;
    let open = |role| Series::at("traffic_connections_open", nginx.port(), role);
    for role in Role::BOTH {
        let found = scrape.sum(&open(role));
        ensure!(
            (found - KEPT as f64).abs() < f64::EPSILON,
            "{role:?}: {found} open connections at the first look"
        );
    }
    let mark = agent.mark()?;
    for client in &mut kept {
        client.exchange(&request)?;
    }
    mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), KEPT)))?;
    let users = Series::named("traffic_concurrent_users").with("port", nginx.port());
    gauges_are(&agent, &[(open(Role::Server), KEPT), (open(Role::Client), KEPT), (users, 2)])?;
    // Both ends by name: this process, as the kernel cuts it, made the connections.
    let me = std::fs::read_to_string("/proc/self/comm")?;
    let named = |role, name: &str| open(role).with("service", name.trim_end());
    gauges_are(&agent, &[(named(Role::Server, "nginx"), KEPT), (named(Role::Client, &me), KEPT)])?;
    kept.truncate(usize::try_from(KEPT / 4)?);
    gauges_are(&agent, &[(open(Role::Server), KEPT / 4), (open(Role::Client), KEPT / 4)])?;
    Ok(())
}

/// A kept connection is joined at its next request, which is counted whole.
#[test]
fn requests_on_connections_older_than_the_agent_are_counted_from_the_first_on() -> Result<()> {
    const KEPT: u64 = 5;
    const EACH: u64 = 3;
    let nginx = Nginx::start()?;
    let request = Request::new("GET", "/ok");
    let mut kept = Vec::new();
    for address in [nginx.ipv4(), nginx.ipv6()].into_iter().cycle().take(usize::try_from(KEPT)?) {
        let mut client = Client::connect(address)?;
        client.exchange(&request)?;
        kept.push(client);
    }
    let agent = Agent::start()?;
    let mark = agent.mark()?;
    for round in 1..=EACH {
        for client in &mut kept {
            client.exchange(&request)?;
        }
        mark.rises_by_exactly(&Role::BOTH.map(|role| (Series::requests(nginx.port(), role), round * KEPT)))?;
    }
    let named = Series::requests(nginx.port(), Role::Server).with("service", "nginx");
    mark.rises_by_exactly(&[(named, EACH * KEPT)])?;
    // The connections are open, and who holds them is a user by each of two addresses.
    let open = |role| Series::at("traffic_connections_open", nginx.port(), role);
    let users = Series::named("traffic_concurrent_users").with("port", nginx.port());
    gauges_are(&agent, &[(open(Role::Server), KEPT), (open(Role::Client), KEPT), (users, 2)])?;
    drop(kept);
    gauges_are(&agent, &[(open(Role::Server), 0), (open(Role::Client), 0)])?;
    Ok(())
}
