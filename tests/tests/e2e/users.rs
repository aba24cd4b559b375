//! Clients and their connections.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    client::{Client, Request},
    expect::gauges_are,
    metrics::{Role, Series},
    nginx::Nginx,
    poll, ports, tool,
};

const USERS: u16 = 1000;
const WINDOW: Duration = Duration::from_secs(3);

fn agent() -> Result<Agent<'static>> {
    Setup::default().flags(&["--users-window", "3s"]).start()
}

fn users(port: u16) -> Series {
    Series::named("traffic_concurrent_users").with("port", port)
}

fn opened(port: u16, role: Role) -> Series {
    Series::at("traffic_connections_opened_total", port, role)
}

fn closed(port: u16, role: Role) -> Series {
    Series::at("traffic_connections_closed_total", port, role)
}

fn open(port: u16, role: Role) -> Series {
    Series::at("traffic_connections_open", port, role)
}

fn failures(port: u16, role: Role) -> Series {
    Series::at("traffic_connection_failures_total", port, role)
}

/// The user's own address in 127.0.0.0/8, of which the machine has 16 million.
fn address(user: u16) -> IpAddr {
    let [high, low] = user.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 1, high, low))
}

/// A connection from each user, who has made a request or none.
fn arrive(nginx: &Nginx, request: Option<&Request>) -> Result<Vec<Client>> {
    tool::raise_descriptor_limit(u64::from(USERS) + 200)?;
    let connect = |user| {
        let mut client = Client::connect_from(address(user), nginx.ipv4())?;
        if let Some(request) = request {
            client.exchange(request)?;
        }
        Ok(client)
    };
    (0..USERS).map(connect).collect()
}

#[test]
fn a_thousand_silent_clients_are_a_thousand_users_until_they_leave() -> Result<()> {
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let (port, count) = (nginx.port(), u64::from(USERS));
    let mark = agent.mark()?;
    let clients = arrive(&nginx, None)?;
    gauges_are(
        &agent,
        &[(users(port), count), (open(port, Role::Server), count), (open(port, Role::Client), count)],
    )?;
    mark.rises_by_exactly(&Role::BOTH.map(|role| (opened(port, role), count)))?;
    drop(clients);
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.extend([
            (opened(port, role), count),
            (closed(port, role), count),
            (failures(port, role), 0),
        ]);
    }
    mark.rises_by_exactly(&expected)?;
    gauges_are(&agent, &[(users(port), 0), (open(port, Role::Server), 0), (open(port, Role::Client), 0)])?;
    Ok(())
}

/// Who has asked something stays a user for the window: the next request comes, on a connection of its own.
#[test]
fn a_thousand_clients_that_asked_are_users_until_the_window_has_passed() -> Result<()> {
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let (port, count) = (nginx.port(), f64::from(USERS));
    let mut clients = arrive(&nginx, None)?;
    for client in &mut clients {
        client.exchange(&Request::new("GET", "/ok"))?;
    }
    let last_request = Instant::now();
    drop(clients);
    let after = poll::until("the connections to close", || {
        let scrape = agent.scrape()?;
        Ok((scrape.sum(&closed(port, Role::Server)) >= count).then_some(scrape))
    })?;
    let (users_now, since) = (after.sum(&users(port)), last_request.elapsed());
    println!("{users_now} users {since:?} after the last request, with no connection open");
    ensure!((users_now - count).abs() < f64::EPSILON, "{users_now} users in the window, {since:?} after");
    poll::until("the window to pass", || Ok((agent.scrape()?.sum(&users(port)) == 0.0).then_some(())))?;
    let passed = last_request.elapsed();
    println!("no user {passed:?} after the last request");
    // A tick may be under way at the end of the window, and the scrape sees the next; and machines are busy.
    ensure!(passed + Duration::from_millis(300) > WINDOW && passed < WINDOW * 2, "0 users after {passed:?}");
    gauges_are(&agent, &[(users(port), 0)])?;
    Ok(())
}

#[test]
fn two_connections_of_one_client_are_one_user() -> Result<()> {
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let port = nginx.port();
    let pair =
        [Client::connect_from(address(1), nginx.ipv4())?, Client::connect_from(address(1), nginx.ipv4())?];
    let other = Client::connect_from(address(2), nginx.ipv4())?;
    gauges_are(&agent, &[(users(port), 2), (open(port, Role::Server), 3)])?;
    let [one, another] = pair;
    drop(another);
    gauges_are(&agent, &[(users(port), 2), (open(port, Role::Server), 2)])?;
    drop(one);
    gauges_are(&agent, &[(users(port), 1), (open(port, Role::Server), 1)])?;
    drop(other);
    gauges_are(&agent, &[(users(port), 0), (open(port, Role::Server), 0)])?;
    Ok(())
}

#[test]
fn refused_connections_are_failures_of_the_caller() -> Result<()> {
    const ATTEMPTS: u64 = 25;
    let agent = agent()?;
    let port = ports::free()?;
    let mark = agent.mark()?;
    for address in
        [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0u16, 0, 0, 0, 0, 0, 0, 1], port))]
    {
        for _ in 0..ATTEMPTS {
            ensure!(Client::connect(address).is_err(), "port {port} was free a moment ago");
        }
    }
    mark.rises_by_exactly(&[
        (failures(port, Role::Client), 2 * ATTEMPTS),
        (failures(port, Role::Server), 0),
        (opened(port, Role::Client), 0),
        (closed(port, Role::Client), 0),
    ])?;
    gauges_are(&agent, &[(open(port, Role::Client), 0)])?;
    Ok(())
}

#[test]
fn connections_that_are_reset_close_as_well() -> Result<()> {
    const COUNT: u64 = 20;
    let agent = agent()?;
    let nginx = Nginx::start()?;
    let port = nginx.port();
    let mark = agent.mark()?;
    for _ in 0..COUNT {
        let mut client = Client::connect(nginx.ipv4())?;
        client.exchange(&Request::new("GET", "/ok"))?;
        client.reset()?;
    }
    let all = Role::BOTH.map(|role| [(opened(port, role), COUNT), (closed(port, role), COUNT)]);
    mark.rises_by_exactly(&all.concat())?;
    gauges_are(&agent, &[(open(port, Role::Server), 0), (open(port, Role::Client), 0)])?;
    Ok(())
}
