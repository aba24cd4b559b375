//! Clients behind proxies: haproxy with PROXY headers, nginx with `X-Forwarded-For`, anybody with `Forwarded`. The truth is
//! whom the server behind them takes for the client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    behind::{Behind, Haproxy},
    client::{Client, Request},
    expect::gauges_are,
    metrics::{Role, Series},
    netns::Netns,
};

const CLIENTS: u16 = 200;
const CLIENTS_V6: u16 = 20;
const ROUNDS: usize = 3;

/// A namespace with many addresses of both families.
pub(crate) fn house() -> Result<Netns> {
    let netns = Netns::new()?;
    let lines: Vec<_> =
        (0..CLIENTS_V6).map(|i| format!("address add {}/128 dev lo nodad\n", v6(i))).collect();
    netns.ip_batch(&lines.concat())?;
    Ok(netns)
}

fn v6(i: u16) -> IpAddr {
    IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 7, i])
}

fn v4(i: u16) -> IpAddr {
    let [high, low] = i.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 1, high, low))
}

/// Every client, with the address of the proxy in its family.
fn everybody([ipv4, ipv6]: [SocketAddr; 2]) -> Vec<(IpAddr, SocketAddr)> {
    let v4 = (0..CLIENTS).map(|i| (v4(i), ipv4));
    v4.chain((0..CLIENTS_V6).map(|i| (v6(i), ipv6))).collect()
}

pub(crate) fn loopback(port: u16) -> [SocketAddr; 2] {
    [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0_u16, 0, 0, 0, 0, 0, 0, 1], port))]
}

pub(crate) fn users(port: u16) -> Series {
    Series::named("traffic_concurrent_users").with("port", port)
}

pub(crate) fn agent(flags: &[&str]) -> Result<Agent<'static>> {
    Setup::default().flags(flags).start()
}

/// Every client asks, over a connection of its own and in several rounds, with what it likes to say of itself.
pub(crate) fn ask(
    netns: &Netns,
    servers: [SocketAddr; 2],
    fields: impl Fn(usize) -> Option<String> + Sync,
) -> Result<usize> {
    let clients = everybody(servers);
    netns.inside(|| {
        for (number, (source, server)) in clients.iter().enumerate() {
            let mut client = Client::connect_from(*source, *server)?;
            for _ in 0..ROUNDS {
                let request = Request::new("GET", "/");
                let request = match fields(number) {
                    Some(field) => request.header(&field),
                    None => request,
                };
                ensure!(client.exchange(&request)?.status == 200);
            }
        }
        Ok(())
    })?;
    Ok(clients.len() * ROUNDS)
}

/// Clients behind haproxy, each of which also claims to be another one, which nobody may trust.
fn behind_haproxy(how: &str, flags: &[&str], known: bool) -> Result<()> {
    let agent = agent(flags)?;
    let netns = house()?;
    let behind = Behind::start(&netns)?;
    let haproxy = Haproxy::start(&netns, behind.proxied, how)?;
    let mark = agent.mark()?;
    let claim = |number| Some(format!("X-Forwarded-For: 198.51.100.{}", number % 250));
    let requests = ask(&netns, haproxy.addresses(), claim)?;
    let truth = behind.clients(behind.proxied, requests)?;
    ensure!(truth.len() == usize::from(CLIENTS + CLIENTS_V6), "{} clients reached nginx", truth.len());
    let count = requests as u64;
    mark.rises_by_exactly(&[
        (Series::requests(behind.proxied, Role::Server), count),
        (Series::requests(behind.proxied, Role::Client), count),
        (Series::requests(haproxy.port, Role::Server), count),
    ])?;
    let expected = if known { truth.len() as u64 } else { 1 };
    println!("{how}, {flags:?}: {} clients, {requests} requests, {expected} users", truth.len());
    gauges_are(&agent, &[(users(behind.proxied), expected), (users(haproxy.port), truth.len() as u64)])?;
    Ok(())
}

pub(crate) const TRUSTED: [&str; 2] = ["--proxies", "127.0.0.1/32,10.0.0.0/8"];

#[test]
fn clients_behind_a_proxy_header_of_version_1_are_the_users() -> Result<()> {
    behind_haproxy("send-proxy", &TRUSTED, true)
}

#[test]
fn clients_behind_a_proxy_header_of_version_2_are_the_users() -> Result<()> {
    behind_haproxy("send-proxy-v2 proxy-v2-options unique-id,crc32c", &TRUSTED, true)
}

/// The requests are measured nevertheless; the user is the proxy.
#[test]
fn a_proxy_header_of_somebody_else_names_nobody() -> Result<()> {
    behind_haproxy("send-proxy", &[], false)?;
    behind_haproxy("send-proxy-v2", &["--proxies", "10.0.0.0/8"], false)
}

/// Who a proxy names is a user for as long as its connection is open, and leaves with it.
#[test]
fn who_a_proxy_header_names_leaves_with_the_connection() -> Result<()> {
    let agent = agent(&[&TRUSTED[..], &["--users-window", "1s"]].concat())?;
    let netns = house()?;
    let behind = Behind::start(&netns)?;
    let haproxy = Haproxy::start(&netns, behind.proxied, "send-proxy-v2")?;
    let clients = netns.inside(|| {
        let connect = |(source, server)| {
            let mut client = Client::connect_from(source, server)?;
            client.exchange(&Request::new("GET", "/"))?;
            Ok(client)
        };
        everybody(haproxy.addresses()).into_iter().map(connect).collect::<Result<Vec<_>>>()
    })?;
    gauges_are(&agent, &[(users(behind.proxied), clients.len() as u64)])?;
    drop(clients);
    gauges_are(&agent, &[(users(behind.proxied), 0), (users(haproxy.port), 0)])?;
    Ok(())
}
