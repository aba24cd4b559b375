//! Clients whom a proxy names in its requests.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Result, ensure};
use probe_tests::{
    behind::Behind,
    client::{Client, Request},
    expect::gauges_are,
    metrics::{Role, Series},
};

use crate::proxied::{TRUSTED, agent, ask, house, loopback, users};

/// Clients of nginx, which shares its connections among them, and adds them to whatever they claim.
#[test]
fn clients_that_a_proxy_adds_to_x_forwarded_for_are_the_users() -> Result<()> {
    let agent = agent(&TRUSTED)?;
    let netns = house()?;
    let behind = Behind::start(&netns)?;
    let mark = agent.mark()?;
    let claim = |number: usize| match number % 3 {
        0 => None,
        1 => Some(format!("X-Forwarded-For: 198.51.100.{}", number % 250)),
        _ => Some("X-Forwarded-For: 2001:db8::1, unknown, [2001:db8::2]:443".to_owned()),
    };
    let requests = ask(&netns, loopback(behind.front), claim)?;
    let truth = behind.clients(behind.forwarded, requests)?;
    mark.rises_by_exactly(&[
        (Series::requests(behind.forwarded, Role::Server), requests as u64),
        (Series::requests(behind.forwarded, Role::Client), requests as u64),
    ])?;
    println!("{} clients, {requests} requests", truth.len());
    ensure!(truth.len() == 220, "{} clients reached nginx", truth.len());
    gauges_are(&agent, &[(users(behind.forwarded), truth.len() as u64), (users(behind.front), 220)])?;
    Ok(())
}

/// The same fields of clients that are no proxies.
#[test]
fn fields_of_somebody_else_name_nobody() -> Result<()> {
    let agent = agent(&["--proxies", "10.0.0.0/8,::1"])?;
    let netns = house()?;
    let behind = Behind::start(&netns)?;
    let [ipv4, _] = loopback(behind.forwarded);
    netns.inside(|| {
        for number in 0..50_u8 {
            let source = IpAddr::V4(Ipv4Addr::new(127, 2, 0, number));
            let mut client = Client::connect_from(source, ipv4)?;
            for claimed in 0..3 {
                let claim = format!("X-Forwarded-For: 203.0.113.{claimed}");
                let request = Request::new("GET", "/").header(&claim).header("Forwarded: for=192.0.2.1");
                ensure!(client.exchange(&request)?.status == 200);
            }
        }
        Ok(())
    })?;
    let truth = behind.clients(behind.forwarded, 150)?;
    ensure!(truth.len() == 50, "nginx trusts the fields: {truth:?}");
    gauges_are(&agent, &[(users(behind.forwarded), 50)])?;
    Ok(())
}

/// A proxy of the test's own: every request of one connection is another client's. nginx, asked the same by
/// `X-Forwarded-For`, says who that is; where nobody can be told, it is the proxy.
#[test]
fn one_connection_of_a_proxy_carries_many_clients() -> Result<()> {
    let agent = agent(&[&TRUSTED[..], &["--users-window", "3s"]].concat())?;
    let netns = house()?;
    let behind = Behind::start(&netns)?;
    let [ipv4, _] = loopback(behind.forwarded);
    let long = "198.51.100.9, ".repeat(40) + "203.0.113.77";
    let lists = [
        "203.0.113.1",
        "203.0.113.2, 10.1.2.3",
        "198.51.100.1, 203.0.113.3,10.9.9.9 , 10.8.8.8",
        "2001:db8::4",
        "[2001:db8::5]:4711",
        "203.0.113.6:80",
        "::ffff:203.0.113.1",
        "198.51.100.1, unknown",
        "10.3.3.3, 10.4.4.4",
        &long,
    ];
    let fields: Vec<_> = lists.iter().map(|list| format!("X-Forwarded-For: {list}")).collect();
    let mark = agent.mark()?;
    netns.inside(|| {
        let mut client = Client::connect(ipv4)?;
        for field in &fields {
            ensure!(client.exchange(&Request::new("GET", "/").header(field))?.status == 200);
        }
        // A proxy that nobody speaks through is nobody's user while it is silent.
        Ok(())
    })?;
    // nginx takes an IPv4-mapped address for another one than its IPv4 address; here it is the same client.
    let logged = behind.clients(behind.forwarded, fields.len())?;
    let truth: BTreeSet<_> = logged.iter().map(IpAddr::to_canonical).collect();
    println!("{truth:?}");
    mark.rises_by_exactly(&[(Series::requests(behind.forwarded, Role::Server), fields.len() as u64)])?;
    gauges_are(&agent, &[(users(behind.forwarded), truth.len() as u64)])?;
    gauges_are(&agent, &[(users(behind.forwarded), 0)])?;
    Ok(())
}

/// `Forwarded` of a real client; what it means is RFC 7239's word, since nginx does not read it.
#[test]
fn clients_named_by_forwarded_are_the_users() -> Result<()> {
    let agent = agent(&TRUSTED)?;
    let netns = house()?;
    let behind = Behind::start(&netns)?;
    let [ipv4, _] = loopback(behind.forwarded);
    let unread = Series::named("traffic_probe_unmeasured_total").with("reason", "forwarded_unread");
    let mark = agent.mark()?;
    netns.inside(|| {
        let mut client = Client::connect(ipv4)?;
        for field in [
            "Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43",
            "Forwarded: for=198.51.100.17, For=\"[2001:db8:cafe::17]:4711\"",
            "forwarded: for=192.0.2.43, for=10.0.0.7",
            "Forwarded: proto=https;by=\"a,b\";for=\"192.0.2.44:80\"",
            "Forwarded: for=\"_SEVKISEK\"",
            "Forwarded: for=unknown",
        ] {
            ensure!(client.exchange(&Request::new("GET", "/").header(field))?.status == 200);
        }
        Ok(())
    })?;
    // Four clients, and the proxy for the two that it does not name.
    gauges_are(&agent, &[(users(behind.forwarded), 5)])?;
    mark.rises_by_exactly(&[(unread, 2), (Series::requests(behind.forwarded, Role::Server), 6)])?;
    Ok(())
}
