//! XDP on request: the driver's own count of what an interface receives.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Setup,
    bpf,
    client::{Client, Request},
    load,
    metrics::{Role, Series},
    netns::Netns,
    nginx::Nginx,
};

/// What the interface receives of TCP over IPv4.
fn received(interface: &'static str) -> Series {
    Series::named("traffic_interface_packets_total")
        .with("interface", interface)
        .with("direction", "receive")
        .with("family", "ipv4")
        .with("transport", "tcp")
}

#[test]
fn a_driver_with_native_xdp_counts_what_it_receives() -> Result<()> {
    const REQUESTS: u64 = 500;
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    let agent = Setup::default().within(&near).flags(&["--xdp", "near0"]).start()?;
    ensure!(!agent.log()?.contains("generic XDP"), "veth has native XDP: {}", agent.log()?);
    ensure!(bpf::tcx_links(agent.id())?.get("ingress") == Some(&1), "TC counts near0 as well");
    let nginx = Nginx::start_within(&near)?;
    let mark = agent.mark()?;
    load::h2load_from(&far, SocketAddr::from(([192, 0, 2, 1], nginx.port())), "/ok", REQUESTS, 10)?;
    let requests = Series::requests(nginx.port(), Role::Server);
    let scrape = mark.rises_by_exactly(&[(requests, REQUESTS)])?;
    // At least a packet a request; what the service's sockets received is what the driver handed over.
    let packets = mark.rise(&scrape, &received("near0"));
    let sockets =
        Series::at("traffic_packets_total", nginx.port(), Role::Server).with("direction", "receive");
    let of_sockets = mark.rise(&scrape, &sockets);
    println!("the driver counts {packets}, the sockets {of_sockets}");
    ensure!(packets >= REQUESTS as f64 && packets >= of_sockets, "too few packets");
    ensure!(packets <= of_sockets + 30.0, "more than the sockets', and the ends of ten connections");
    Ok(())
}

#[test]
fn a_driver_without_it_is_counted_by_generic_xdp_with_a_warning() -> Result<()> {
    let netns = Netns::new()?;
    let agent = Setup::default().within(&netns).flags(&["--xdp", "lo"]).start()?;
    ensure!(agent.log()?.contains("generic XDP"), "the log does not warn: {}", agent.log()?);
    let nginx = Nginx::start_within(&netns)?;
    let mark = agent.mark()?;
    netns.inside(|| Client::connect(nginx.ipv4())?.exchange(&Request::new("GET", "/ok")))?;
    let requests = Series::requests(nginx.port(), Role::Server);
    let scrape = mark.rises_by_exactly(&[(requests, 1)])?;
    ensure!(mark.rise(&scrape, &received("lo")) >= 6.0, "a connection has six packets at least");
    Ok(())
}
