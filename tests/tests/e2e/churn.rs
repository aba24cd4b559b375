//! Interfaces that come, go, change their names, and rest on each other.
//!
//! Bonds and VLAN devices are not in every kernel that runs these tests; what rests on what is tried with a bridge, its
//! ports and a macvlan here, and with bonds and VLANs in the unit tests of `kernel/stacking.rs`. Tags are tried as frames.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write,
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_tests::{
    agent::{Agent, Setup},
    bpf::{self, Footprint},
    load::{Iperf, Sender},
    metrics::{Scrape, Series},
    netns::{Carried, Netns},
    poll, process,
};

const PORTS: usize = 50;
const LIMIT: Duration = Duration::from_secs(5);
/// Interfaces made, and as many removed, in a second, and for how many seconds.
const PER_SECOND: u32 = 20;
const SECONDS: u32 = 16;
/// Changes [`SECONDS`] for a longer run.
const VARIABLE: &str = "TRAFFIC_PROBE_CHURN_SECONDS";
/// What a bridge leaves out of the bytes of each frame that it receives.
const HEADER: u64 = 14;
/// Bytes of a frame: of ARP, and of a full segment.
const SHORTEST: u64 = 42;
const LONGEST: u64 = 1514;

type Statistics = BTreeMap<String, [Carried; 2]>;

/// A node with a bridge of 50 ports, of which two lead to stations, and a macvlan on another cable.
struct Network {
    node: Netns,
    left: Netns,
    right: Netns,
    /// Where the other cables lead.
    _others: Netns,
}

impl Network {
    fn new() -> Result<Self> {
        let (node, left, right, others) = (Netns::new()?, Netns::new()?, Netns::new()?, Netns::new()?);
        // With an address of its own: a bridge without one takes the lowest of its ports', and as those come and go,
        // stations would send to an address that is gone.
        node.ip(&["link", "add", "br0", "address", "02:00:00:00:00:fe", "type", "bridge"])?;
        node.cable("p0", &left, "left0")?;
        node.cable("p1", &right, "right0")?;
        for number in 2..PORTS {
            node.cable(&format!("p{number}"), &others, &format!("o{number}"))?;
        }
        for number in 0..PORTS {
            node.ip(&["link", "set", &format!("p{number}"), "master", "br0"])?;
        }
        node.ip(&["link", "set", "br0", "up"])?;
        node.address("br0", "192.0.2.3/24")?;
        // A bridge does not know the address of a macvlan on it, and would copy what it is sent to every port.
        node.cable("pm", &left, "left1")?;
        node.ip(&["link", "add", "link", "pm", "name", "mv0", "type", "macvlan", "mode", "bridge"])?;
        node.ip(&["link", "set", "mv0", "up"])?;
        node.address("mv0", "198.51.100.1/24")?;
        left.address("left1", "198.51.100.2/24")?;
        // Frames, so that the interfaces' own statistics are those of a wire.
        for (netns, interface) in [(&left, "left0"), (&left, "left1"), (&right, "right0")] {
            let off = ["-K", interface, "tso", "off", "gso", "off", "gro", "off"];
            process::run_well(netns.command("ethtool")?.args(off), LIMIT)?;
        }
        left.address("left0", "192.0.2.1/24")?;
        right.address("right0", "192.0.2.2/24")?;
        Ok(Self { node, left, right, _others: others })
    }

    /// What all interfaces have carried but for the loopback device, over which the agent is asked.
    fn statistics(&self) -> Result<Statistics> {
        let mut statistics = self.node.all_statistics()?;
        statistics.remove("lo");
        Ok(statistics)
    }

    /// The agent's figures of a moment in which nothing is carried, and what has been carried until then.
    fn at_rest(&self, agent: &Agent<'_>) -> Result<(Scrape, Statistics)> {
        poll::until("the bridge to have nothing to do", || {
            let before = self.statistics()?;
            let scrape = agent.collected()?;
            Ok((self.statistics()? == before).then_some((scrape, before)))
        })
    }
}

fn carried(scrape: &Scrape, name: &'static str, interface: &str, way: &'static str) -> f64 {
    scrape.sum(&Series::named(name).with("interface", interface).with("direction", way))
}

fn of_node(scrape: &Scrape, way: &'static str) -> f64 {
    scrape.sum(&Series::named("traffic_node_bytes_total").with("direction", way))
}

/// Makes and removes so many cables within the node, of which one end is a port of the bridge for a while. No faster than
/// [`PER_SECOND`]; a busy machine takes longer over them.
fn churn(node: &Netns, cables: u32) -> Result<Duration> {
    let began = Instant::now();
    for made in 0..cables {
        let mut lines = format!(
            "link add c{made} type veth peer name d{made}\nlink set c{made} master br0\nlink set c{made} up\n\
             link set d{made} up\n"
        );
        if let Some(old) = made.checked_sub(5) {
            writeln!(lines, "link delete c{old}")?;
        }
        node.ip_batch(&lines)?;
        // Each is two interfaces.
        thread::sleep(
            (began + Duration::from_secs(1) * (made + 1) * 2 / PER_SECOND)
                .saturating_duration_since(Instant::now()),
        );
    }
    for old in cables.saturating_sub(5)..cables {
        node.ip(&["link", "delete", &format!("c{old}")])?;
    }
    Ok(began.elapsed())
}

/// What carries bytes meanwhile: from station to station, and to the node itself.
fn transfers(network: &Network, over: &AtomicBool) -> Result<()> {
    let to_right = Iperf::start_within(&network.right)?;
    let to_bridge = Iperf::start_within(&network.node)?;
    let to_macvlan = Iperf::start_within(&network.node)?;
    while !over.load(Ordering::Relaxed) {
        to_right.run_gently(&network.left, "192.0.2.2", Sender::Client)?;
        to_bridge.run_gently(&network.left, "192.0.2.3", Sender::Client)?;
        to_macvlan.run_gently(&network.left, "198.51.100.1", Sender::Client)?;
    }
    Ok(())
}

/// Compares what was counted on an interface one way, in bytes, with its own statistics, between two moments.
///
/// What a cable could not deliver, since the queue of a CPU was full, is not in its statistics, but went by the agent's
/// program before: of such frames only the number is known.
#[expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]
fn is_as_its_statistics(
    [(scrape_before, before), (scrape, after)]: [(&Scrape, &Statistics); 2],
    name: &str,
    number: usize,
    way: &'static str,
) -> Result<f64> {
    let before = before.get(name).with_context(|| format!("{name} is new"))?[number];
    let after = after[name][number];
    let rise = |series| carried(scrape, series, name, way) - carried(scrape_before, series, name, way);
    let bytes = rise("traffic_interface_bytes_total");
    let packets = rise("traffic_interface_packets_total");
    let lost = if way == "transmit" { after.dropped - before.dropped } else { 0 };
    let frames = after.packets - before.packets;
    let headers = if name == "br0" && way == "receive" { frames * HEADER } else { 0 };
    let truth = after.bytes - before.bytes + headers;
    if lost > 0 || truth > 100_000 {
        println!(
            "{name}, {way}: measured {bytes}, by its statistics {truth}, and {lost} frames not delivered"
        );
    }
    ensure!(
        packets == (frames + lost) as f64,
        "{name}, {way}: {packets} packets instead of {frames} and {lost}"
    );
    let possible = (truth + lost * SHORTEST) as f64..=(truth + lost * LONGEST) as f64;
    ensure!(possible.contains(&bytes), "{name}, {way}: measured {bytes}, possible {possible:?}");
    Ok(bytes)
}

#[test]
#[expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]
fn what_stays_is_counted_exactly_while_others_come_and_go() -> Result<()> {
    let seconds: u32 = env::var(VARIABLE).map_or(Ok(SECONDS), |said| said.parse())?;
    let interfaces = seconds * PER_SECOND;
    let network = Network::new()?;
    let agent = Setup::default().alone().within(&network.node).start()?;
    let (scrape_before, before) = network.at_rest(&agent)?;
    let held = (bpf::descriptors(agent.id())?, bpf::tcx_links(agent.id())?);
    let over = AtomicBool::new(false);
    let took = thread::scope(|scope| {
        let load = scope.spawn(|| transfers(&network, &over));
        let took = churn(&network.node, interfaces / 2);
        over.store(true, Ordering::Relaxed);
        load.join().expect("the load panicked")?;
        took
    })?;
    let (scrape, after) = network.at_rest(&agent)?;
    let figures = [(&scrape_before, &before), (&scrape, &after)];
    for (number, way) in ["receive", "transmit"].into_iter().enumerate() {
        let mut total = 0.0;
        for name in after.keys() {
            let measured = is_as_its_statistics(figures, name, number, way)?;
            total += if name.starts_with('p') { measured } else { 0.0 };
        }
        let measured = of_node(&scrape, way) - of_node(&scrape_before, way);
        println!("the node, {way}: measured {measured}, over its cables {total}");
        ensure!(measured == total, "the node, {way}: {measured} instead of {total}");
    }
    println!("{interfaces} interfaces came and went in {took:?}");
    let now = (bpf::descriptors(agent.id())?, bpf::tcx_links(agent.id())?);
    ensure!(now == held, "descriptors and links before: {held:?}, after: {now:?}");
    let entries = bpf::entries(&Footprint::of(agent.id())?, "INTERFACES")?;
    ensure!(entries == after.len() + 1, "{} interfaces and lo, {entries} entries", after.len());
    ensure!(!agent.log()?.contains("not counted"), "the log complains: {}", agent.log()?);
    Ok(())
}

fn both_ways(count: usize) -> BTreeMap<String, usize> {
    [("egress".to_owned(), count), ("ingress".to_owned(), count)].into()
}

/// Waits until the agent has links to so many interfaces.
fn is_attached_to(agent: &Agent<'_>, count: usize) -> Result<()> {
    poll::until(&format!("links to {count} interfaces"), || {
        Ok((bpf::tcx_links(agent.id())? == both_ways(count)).then_some(()))
    })
}

#[test]
fn an_interface_is_attached_to_when_it_comes_and_not_at_the_next_tick() -> Result<()> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    // The next tick is further away than the test's patience.
    let agent = Setup::default().within(&near).ticking_every("60s").flags(&["--window", "60s"]).start()?;
    is_attached_to(&agent, 1)?;
    let began = Instant::now();
    near.cable("near0", &far, "far0")?;
    is_attached_to(&agent, 2)?;
    println!("attached {:?} after the cable was asked for", began.elapsed());
    near.ip(&["link", "delete", "near0"])?;
    is_attached_to(&agent, 1)
}

#[test]
#[expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]
fn an_interface_that_is_renamed_stays_attached_and_begins_a_series() -> Result<()> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    let agent = Setup::default().within(&near).start()?;
    let send = |count: usize| {
        far.inside(|| {
            let socket = UdpSocket::bind("192.0.2.2:0")?;
            (0..count).try_for_each(|_| Ok(socket.send_to(b"a datagram", "192.0.2.1:9").map(drop)?))
        })
    };
    send(30)?;
    let received = |scrape: &Scrape, interface: &str| {
        let series = Series::named("traffic_interface_packets_total").with("interface", interface);
        scrape.sum(&series.with("transport", "udp").with("family", "ipv4").with("direction", "receive"))
    };
    ensure!(received(&agent.collected()?, "near0") == 30.0, "near0 has not counted 30 datagrams");
    let links = Footprint::of(agent.id())?.links;
    near.ip(&["link", "set", "near0", "down"])?;
    near.ip(&["link", "set", "near0", "name", "other0"])?;
    near.ip(&["link", "set", "other0", "up"])?;
    send(20)?;
    let scrape = agent.collected()?;
    ensure!(received(&scrape, "other0") == 20.0, "other0 has not counted 20 datagrams");
    ensure!(received(&scrape, "near0") == 0.0, "there is still a series of near0");
    ensure!(Footprint::of(agent.id())?.links == links, "it was attached to anew");
    Ok(())
}

#[test]
fn after_an_overrun_the_interfaces_are_listed_again() -> Result<()> {
    const STORM: usize = 6000;
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.cable("near0", &far, "far0")?;
    near.cable("old0", &far, "old1")?;
    let agent = Setup::default().within(&near).start()?;
    is_attached_to(&agent, 3)?;
    let id = Pid::from_raw(i32::try_from(agent.id())?);
    kill(id, Signal::SIGSTOP)?;
    let mut storm = String::new();
    for i in 0..STORM {
        writeln!(storm, "link set near0 mtu {}", 1400 + i % 2)?;
    }
    let changed = near
        .ip_batch(&storm)
        .and_then(|()| near.cable("new0", &far, "new1"))
        .and_then(|()| near.cable("new2", &far, "new3"))
        .and_then(|()| near.ip(&["link", "delete", "old0"]).map(drop));
    kill(id, Signal::SIGCONT)?;
    changed?;
    is_attached_to(&agent, 4)?;
    ensure!(agent.log()?.contains("listing interfaces again"), "the log does not say so: {}", agent.log()?);
    Ok(())
}
