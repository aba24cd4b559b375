//! Pipelines: many requests in a segment, many answers in another.

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Agent,
    load,
    metrics::{Role, Series},
    nginx::Nginx,
};

const CONNECTIONS: u32 = 8;
const DEPTH: u32 = 16;
const PIPELINES: u32 = 800;

#[test]
fn pipelines_of_sixteen_are_counted_request_by_request() -> Result<()> {
    let agent = Agent::start()?;
    let nginx = Nginx::start()?;
    let mark = agent.mark()?;
    let done = load::wrk_pipelined(nginx.ipv4(), "/ok", CONNECTIONS, DEPTH, PIPELINES, nginx.directory())?;
    ensure!(done > 100_000, "wrk made {done} requests only");
    let logged: u64 = nginx.answered(usize::try_from(done)?)?.values().sum();
    ensure!(logged == done, "nginx logged {logged} requests, wrk made {done}");
    let mut expected = Vec::new();
    for (role, service) in [(Role::Server, "nginx"), (Role::Client, "wrk")] {
        let all = Series::requests(nginx.port(), role);
        let times = |name| Series::at(name, nginx.port(), role).with("protocol", "http1");
        expected.push((all.clone(), done));
        expected.push((all.with("service", service).with("method", "GET").with("status", 200), done));
        expected.push((times("traffic_request_duration_seconds_count"), done));
        expected.push((times("traffic_time_to_first_byte_seconds_count"), done));
    }
    mark.rises_by_exactly(&expected)?;
    println!("pipelines of {DEPTH}: {logged} requests in nginx's log, and as many at either end");
    Ok(())
}
