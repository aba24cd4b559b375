//! Packets that the kernel splits and joins, at full speed on two CPUs: what the agent counts is what goes over the wire.
//!
//! The statistics of an interface with segmentation offload cannot tell: a buffer of 64 KiB is one packet to them. So the
//! same traffic crosses a router, and the truth is on its other side, where nothing is offloaded: there the kernel itself
//! has split each buffer, or not yet joined the frames, and the interface counts frames.
//!
//! ```text
//!  near: near0 (buffers) ── left0: router: right0 ── (frames) far0 :far
//! ```

use std::{thread, time::Duration};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    expect::Mark,
    load::{Iperf, Sender},
    metrics::{Scrape, Series},
    netns::{Carried, Netns},
    poll, process,
};

/// What veth leaves out of the bytes of each frame that it receives in order to join it: the Ethernet header. What it
/// sends, and what it hands on as it is, it counts with it.
const HEADER: u64 = 14;
const LIMIT: Duration = Duration::from_secs(5);
const FAMILIES: [&str; 3] = ["ipv4", "ipv6", "other"];
const TRANSPORTS: [&str; 4] = ["tcp", "udp", "icmp", "other"];

/// Two namespaces and the router between them.
struct Network {
    near: Netns,
    router: Netns,
    far: Netns,
}

impl Network {
    fn new() -> Result<Self> {
        let (near, router, far) = (Netns::new()?, Netns::new()?, Netns::new()?);
        near.cable("near0", &router, "left0")?;
        router.cable("right0", &far, "far0")?;
        router.set("ipv4/ip_forward", "1")?;
        router.set("ipv6/conf/all/forwarding", "1")?;
        for (host, interface, gateway, number) in [(&near, "near0", "left0", 1), (&far, "far0", "right0", 2)]
        {
            for (address, router_address, all) in [
                (format!("198.51.{number}.1"), format!("198.51.{number}.254"), "0.0.0.0/0"),
                (format!("fd00:{number}::1"), format!("fd00:{number}::fe"), "::/0"),
            ] {
                let length = if all == "::/0" { 64 } else { 24 };
                router.address(gateway, &format!("{router_address}/{length}"))?;
                host.address(interface, &format!("{address}/{length}"))?;
                host.ip(&["route", "add", all, "via", &router_address, "dev", interface])?;
            }
        }
        offload(&near, "near0", "on")?;
        offload(&router, "left0", "on")?;
        // Beyond the router frames are what they are on a wire, until the router has received and joins them.
        offload(&far, "far0", "off")?;
        offload(&router, "right0", "off")?;
        run(&router, &["-K", "right0", "gro", "on"])?;
        Ok(Self { near, router, far })
    }

    /// What the router's far side has carried; read once nothing is under way.
    fn frames(&self) -> Result<[Carried; 2]> {
        self.router.statistics("right0")
    }

    /// The agent's figures of a moment in which the far side carries nothing, and what it has carried until then.
    fn at_rest<T>(&self, mut figures: impl FnMut() -> Result<T>) -> Result<(T, [Carried; 2])> {
        poll::until("the router to have nothing to do", || {
            let before = self.frames()?;
            let figures = figures()?;
            Ok((self.frames()? == before).then_some((figures, before)))
        })
    }
}

fn offload(netns: &Netns, interface: &str, state: &str) -> Result<()> {
    run(netns, &["-K", interface, "tso", state, "gso", state])
}

fn run(netns: &Netns, arguments: &[&str]) -> Result<()> {
    process::run_well(netns.command("ethtool")?.args(arguments), LIMIT).map(drop)
}

/// How many bytes and packets of these kinds the agent has counted since the mark.
fn counted(
    mark: &Mark<'_>,
    scrape: &Scrape,
    interface: &'static str,
    way: &'static str,
    transports: &[&'static str],
) -> [f64; 2] {
    let rise = |name| {
        let mut sum = 0.0;
        for family in FAMILIES {
            for transport in transports {
                let series = Series::named(name).with("interface", interface).with("direction", way);
                sum += mark.rise(scrape, &series.with("family", family).with("transport", transport));
            }
        }
        sum
    };
    [rise("traffic_interface_bytes_total"), rise("traffic_interface_packets_total")]
}

/// Both ways at once, each on a CPU of its own.
fn transfer(network: &Network, address: &str) -> Result<()> {
    let servers = [Iperf::start_within(&network.far)?, Iperf::start_within(&network.far)?];
    thread::scope(|scope| {
        let [up, down] = &servers;
        let up = scope.spawn(|| up.run_on(0, &network.near, address, Sender::Client));
        let down = scope.spawn(|| down.run_on(1, &network.near, address, Sender::Server));
        for transfer in [up, down] {
            transfer.join().expect("a transfer panicked")?;
        }
        Ok(())
    })
}

#[expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]
fn frames_are_counted(address: &str) -> Result<()> {
    let network = Network::new()?;
    let agent: Agent<'_> = Setup::default().alone().within(&network.router).start()?;
    let (mark, before) = network.at_rest(|| agent.mark())?;
    let buffers_before = network.router.statistics("left0")?;
    transfer(&network, address)?;
    let (scrape, after) = network.at_rest(|| agent.collected())?;
    let buffers = network.router.statistics("left0")?;
    for (number, (way, opposite)) in
        [("receive", "transmit"), ("transmit", "receive")].into_iter().enumerate()
    {
        let (before, after) = (before[number], after[number]);
        ensure!(after.dropped == before.dropped, "frames were dropped: {after:?}");
        let frames = after.packets - before.packets;
        let headers = if way == "receive" { frames * HEADER } else { 0 };
        let truth = [after.bytes - before.bytes + headers, frames].map(|count| count as f64);
        let measured = counted(&mark, &scrape, "right0", way, &TRANSPORTS);
        println!(
            "{address}, frames that right0 has to {way}: measured {measured:?}, its statistics {truth:?}"
        );
        ensure!(measured == truth, "right0, {way}: {measured:?} instead of {truth:?}");
        // What crossed the router is TCP; what did not is the neighbours' talk on either side.
        let talk = counted(&mark, &scrape, "right0", way, &TRANSPORTS[1..]);
        let crossed = [truth[0] - talk[0], truth[1] - talk[1]];
        let measured = counted(&mark, &scrape, "left0", opposite, &TRANSPORTS[..1]);
        let buffers = (buffers[1 - number].packets - buffers_before[1 - number].packets) as f64;
        println!(
            "{address}, the same at left0, {opposite}: measured {measured:?}, truth {crossed:?}, in {buffers} buffers"
        );
        ensure!(measured == crossed, "left0, {opposite}: {measured:?} instead of {crossed:?}");
        ensure!(buffers * 2.0 < truth[1], "nothing was split or joined: {buffers} buffers");
    }
    Ok(())
}

#[test]
fn frames_of_buffers_over_ipv4_are_those_of_the_wire() -> Result<()> {
    frames_are_counted("198.51.2.1")
}

#[test]
fn frames_of_buffers_over_ipv6_are_those_of_the_wire() -> Result<()> {
    frames_are_counted("fd00:2::1")
}
