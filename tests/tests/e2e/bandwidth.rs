//! Bytes, against what iperf3 says that it transferred. These tests have the machine alone.

use std::ops::RangeInclusive;

use anyhow::{Result, ensure};
use probe_tests::{
    agent::Setup,
    expect::{Mark, within},
    load::{Iperf, Sender, Transfer},
    metrics::{Role, Scrape, Series},
    netns::Netns,
};

/// What the issue allows.
const PART: f64 = 0.005;

/// Headers of a segment on Ethernet: 14 and 20 and 32 (TCP with its timestamp), or 40 for IPv6.
const HEADERS_IPV4: f64 = 14.0 + 20.0 + 32.0;
const HEADERS_IPV6: f64 = 14.0 + 40.0 + 32.0;
/// Payload of a full segment on a veth of 1,500 bytes.
const SEGMENT_IPV4: f64 = 1500.0 - 20.0 - 32.0;
const SEGMENT_IPV6: f64 = 1500.0 - 40.0 - 32.0;

/// Bytes of a service, one way.
fn of_service(port: u16, role: Role, way: &'static str) -> Series {
    Series::at("traffic_bytes_total", port, role).with("direction", way)
}

/// Bytes of TCP on an interface, one way.
fn on_interface(interface: &'static str, family: &'static str, way: &'static str) -> Series {
    Series::named("traffic_interface_bytes_total")
        .with("interface", interface)
        .with("family", family)
        .with("transport", "tcp")
        .with("direction", way)
}

/// The way of the payload at the server.
fn way(sender: Sender) -> &'static str {
    match sender {
        Sender::Client => "receive",
        Sender::Server => "transmit",
    }
}

fn opposite(way: &str) -> &'static str {
    if way == "receive" { "transmit" } else { "receive" }
}

/// Loopback: the agent sees both ends. A buffer there holds 64 KiB, so that headers are less than the bound.
fn on_loopback(address: &str, family: &'static str, sender: Sender) -> Result<()> {
    let netns = Netns::new()?;
    let agent = Setup::default().alone().within(&netns).start()?;
    let iperf = Iperf::start_within(&netns)?;
    let mark = agent.mark()?;
    let transfer = iperf.run(&netns, address, sender)?;
    let scrape = agent.collected()?;
    for (role, way) in [(Role::Server, way(sender)), (Role::Client, opposite(way(sender)))] {
        let what = format!("{address}, {sender:?} sends, {role:?}, {way}");
        let bytes = mark.rise(&scrape, &of_service(iperf.port(), role, way));
        between(&what, bytes, &transfer)?;
    }
    for way in ["receive", "transmit"] {
        let bytes = mark.rise(&scrape, &on_interface("lo", family, way));
        between(&format!("{address}, {sender:?} sends, lo, {way}"), bytes, &transfer)?;
    }
    Ok(())
}

/// iperf3 knows two figures: what it sent, and what had come when its time was up. The truth is within.
fn between(what: &str, measured: f64, transfer: &Transfer) -> Result<()> {
    let truths: RangeInclusive<f64> = transfer.received..=transfer.sent;
    if truths.contains(&measured) {
        return Ok(());
    }
    let nearest = if measured < transfer.received { transfer.received } else { transfer.sent };
    within(PART, what, measured, nearest)
}

#[test]
fn loopback_to_the_server() -> Result<()> {
    on_loopback("127.0.0.1", "ipv4", Sender::Client)
}

#[test]
fn loopback_to_the_client() -> Result<()> {
    on_loopback("127.0.0.1", "ipv4", Sender::Server)
}

#[test]
fn loopback_over_ipv6() -> Result<()> {
    on_loopback("::1", "ipv6", Sender::Client)
}

/// A veth with a common MTU, offloads on: what the agent counts on it is what a wire would carry, each frame with
/// headers of its own, although the kernel hands buffers of many frames over.
fn on_veth(address: &str, family: &'static str, sender: Sender, headers: f64, segment: f64) -> Result<()> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    let agent = Setup::default().alone().within(&near).start()?;
    let iperf = Iperf::start_within(&near)?;
    let mark = agent.mark()?;
    let transfer = iperf.run(&far, address, sender)?;
    let scrape = agent.collected()?;
    let payload_way = way(sender);
    let payload = mark.rise(&scrape, &of_service(iperf.port(), Role::Server, payload_way));
    between(&format!("{address}, {sender:?} sends, payload"), payload, &transfer)?;
    let wire = mark.rise(&scrape, &on_interface("near0", family, payload_way));
    let expected = payload * (1.0 + headers / segment);
    // What TCP sent again, because a CPU's backlog was full or an acknowledgement late, is on the wire too: all of it, or
    // that part which arrived.
    let from = if sender == Sender::Client { &far } else { &near };
    let again = from.tcp_counter("RetransSegs")? as f64;
    println!("{again} segments were sent again");
    let most = expected + again * (segment + headers);
    let nearest = wire.clamp(expected, most);
    within(PART, &format!("{address}, {sender:?} sends, near0"), wire, nearest)?;
    acknowledgements(&mark, &scrape, family, opposite(payload_way), headers)
}

/// The other way there are acknowledgements alone, but for iperf3's few words: as many bytes as headers.
fn acknowledgements(
    mark: &Mark<'_>,
    scrape: &Scrape,
    family: &'static str,
    way: &'static str,
    headers: f64,
) -> Result<()> {
    let bytes = mark.rise(scrape, &on_interface("near0", family, way));
    let packets = Series::named("traffic_interface_packets_total")
        .with("interface", "near0")
        .with("family", family)
        .with("transport", "tcp")
        .with("direction", way);
    let packets = mark.rise(scrape, &packets);
    println!("{packets} acknowledgements of {bytes} bytes");
    ensure!(packets > 0.0, "nothing was acknowledged");
    // SACK and the handshake's options make some longer; iperf3 says less than 8 KiB.
    let most = packets * (headers + 24.0) + 8192.0;
    ensure!(
        (packets * headers..most).contains(&bytes),
        "{packets} acknowledgements cannot have {bytes} bytes"
    );
    Ok(())
}

#[test]
fn veth_to_the_server() -> Result<()> {
    on_veth("192.0.2.1", "ipv4", Sender::Client, HEADERS_IPV4, SEGMENT_IPV4)
}

#[test]
fn veth_to_the_client() -> Result<()> {
    on_veth("192.0.2.1", "ipv4", Sender::Server, HEADERS_IPV4, SEGMENT_IPV4)
}

#[test]
fn veth_over_ipv6() -> Result<()> {
    on_veth("fd00::1", "ipv6", Sender::Client, HEADERS_IPV6, SEGMENT_IPV6)
}
