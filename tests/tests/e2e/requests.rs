//! Every request is counted, once, on each end.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    client::{Client, Request},
    load,
    metrics::{Role, Series},
    nginx::Nginx,
};

const DURATIONS: &str = "traffic_request_duration_seconds_count";
const FIRST_BYTES: &str = "traffic_time_to_first_byte_seconds_count";

/// The series that requests of a method and status are counted in, on the service's end.
fn all_of(port: u16, role: Role, service: &str, method: &str, status: u16) -> [Series; 2] {
    let of = |series: Series| {
        series.with("service", service).with("method", method).with("status", format!("{status:03}"))
    };
    [of(Series::requests(port, role)), of(Series::at(DURATIONS, port, role).with("protocol", "http1"))]
}

/// All requests to a port are those, on both ends; and every one has its times.
fn gets(port: u16, caller: &str, count: u64) -> Vec<(Series, u64)> {
    let mut expected = Vec::new();
    for (role, service) in [(Role::Server, "nginx"), (Role::Client, caller)] {
        for series in all_of(port, role, service, "GET", 200) {
            expected.push((series, count));
        }
        expected.push((Series::requests(port, role), count));
        expected.push((Series::at(FIRST_BYTES, port, role).with("protocol", "http1"), count));
    }
    expected
}

fn ten_thousand_from_h2load(address: impl Fn(&Nginx) -> SocketAddr) -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    load::h2load(address(&nginx), "/ok", 10_000, 20)?;
    mark.rises_by_exactly(&gets(nginx.port(), "h2load", 10_000))?;
    Ok(())
}

#[test]
fn ten_thousand_requests_are_ten_thousand_over_ipv4() -> Result<()> {
    ten_thousand_from_h2load(Nginx::ipv4)
}

#[test]
fn ten_thousand_requests_are_ten_thousand_over_ipv6() -> Result<()> {
    ten_thousand_from_h2load(Nginx::ipv6)
}

#[test]
fn a_mix_is_exact_by_method_and_status() -> Result<()> {
    const ROUNDS: usize = 40;
    const MIX: [(&str, &str); 9] = [
        ("GET", "/ok"),
        ("GET", "/absent"),
        ("GET", "/broken"),
        ("HEAD", "/ok"),
        ("POST", "/ok"),
        ("PUT", "/ok"),
        ("DELETE", "/absent"),
        ("POST", "/broken"),
        ("OPTIONS", "/broken"),
    ];
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    for address in [nginx.ipv4(), nginx.ipv6()] {
        let mut kept = Client::connect(address)?;
        for _ in 0..ROUNDS {
            for (method, path) in MIX {
                let body = if matches!(method, "POST" | "PUT") { 100 } else { 0 };
                kept.exchange(&Request::new(method, path).body(body))?;
            }
        }
    }
    let answered = nginx.answered(2 * ROUNDS * MIX.len())?;
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.push((Series::requests(nginx.port(), role), answered.values().sum()));
        for ((method, status), count) in &answered {
            let series = Series::requests(nginx.port(), role);
            expected.push((series.with("method", method).with("status", status), *count));
        }
    }
    ensure!(answered.len() == MIX.len(), "nginx answered otherwise: {answered:?}");
    mark.rises_by_exactly(&expected)?;
    Ok(())
}
