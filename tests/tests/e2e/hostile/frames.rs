//! Hostile frames on an interface, both ways, while a real server on it is under load.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    forger::{Forger, Target},
    frames::FrameSender,
    load,
    metrics::{Role, Scrape, Series},
    netns::{Carried, Netns},
    nginx::Nginx,
    poll, process,
};

const REQUESTS: u64 = 20_000;
const CLIENTS: u64 = 10;
/// Frames each way: no fewer, and no more while the load takes longer.
const FRAMES: u64 = 20_000;
const MOST: u64 = 400_000;

/// Bytes of an Ethernet header.
const HEADER: u64 = 14;
const LIMIT: Duration = Duration::from_secs(5);
const NEAR: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
const FAR: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(192, 0, 2, 2), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

/// Two hosts on a cable without offloads: frames are what its statistics count.
fn cable() -> Result<(Netns, Netns)> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    near.connect("near0", &far, "far0")?;
    for (netns, interface) in [(&near, "near0"), (&far, "far0")] {
        let off = ["-K", interface, "tso", "off", "gso", "off", "gro", "off"];
        process::run_well(netns.command("ethtool")?.args(off), LIMIT)?;
    }
    Ok((near, far))
}

/// What was sent by a forger.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    frames: u64,
    /// Those that end within the tag of a VLAN. Where they are received, the kernel throws them away before any program of
    /// TC sees them.
    torn: Carriage,
}

#[derive(Clone, Copy, Debug, Default)]
struct Carriage {
    frames: u64,
    bytes: u64,
}

/// Sends forged frames until the load is over.
fn forge(from: &FrameSender, mut forger: Forger, over: &AtomicBool) -> Result<Sent> {
    let mut sent = Sent::default();
    while sent.frames < MOST && (sent.frames < FRAMES || !over.load(Ordering::Relaxed)) {
        let frame = forger.frame();
        from.send(&frame)?;
        sent.frames += 1;
        let tagged = matches!(frame[12..14], [0x81, 0] | [0x88, 0xa8]);
        if tagged && frame.len() < 14 + 4 + 2 {
            sent.torn.frames += 1;
            sent.torn.bytes += frame.len() as u64;
        }
    }
    Ok(sent)
}

/// The load, and hostile frames both ways while it lasts.
fn under_fire(near: &Netns, far: &Netns, port: u16) -> Result<[Sent; 2]> {
    let over = AtomicBool::new(false);
    let target = |netns: &Netns, interface, (ipv4, ipv6)| -> Result<Target> {
        Ok(Target { mac: netns.mac(interface)?, ipv4, ipv6, port })
    };
    let inwards = (FrameSender::new(far, "far0")?, Forger::new(target(near, "near0", NEAR)?, 4));
    let outwards = (FrameSender::new(near, "near0")?, Forger::new(target(far, "far0", FAR)?, 5));
    thread::scope(|scope| {
        let forgers = [inwards, outwards].map(|(from, forger)| {
            let over = &over;
            scope.spawn(move || forge(&from, forger, over))
        });
        let server = SocketAddr::from((NEAR.0, port));
        let loaded = load::h2load_from(far, server, "/ok", REQUESTS, u32::try_from(CLIENTS)?);
        over.store(true, Ordering::Relaxed);
        let [inwards, outwards] = forgers.map(|forger| forger.join().expect("a forger panicked"));
        loaded?;
        Ok([inwards?, outwards?])
    })
}

/// The agent's figures of a moment in which nothing is carried, and what has been carried until then.
fn at_rest(near: &Netns, agent: &Agent<'_>) -> Result<(Scrape, [Carried; 2])> {
    poll::until("the cable to have nothing to do", || {
        let before = near.statistics("near0")?;
        let scrape = agent.collected()?;
        Ok((near.statistics("near0")? == before).then_some((scrape, before)))
    })
}

#[expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]
fn all_is_exact(flags: &[&str]) -> Result<()> {
    let (near, far) = cable()?;
    let agent = Setup::default().within(&near).flags(flags).start()?;
    let nginx = Nginx::start_within(&near)?;
    let mark = agent.mark()?;
    let (scrape_before, before) = at_rest(&near, &agent)?;
    let sent = under_fire(&near, &far, nginx.port())?;
    println!("{sent:?}");
    let mut expected = Vec::new();
    for role in Role::BOTH {
        expected.push((Series::requests(nginx.port(), role), REQUESTS));
        expected.push((Series::requests(nginx.port(), role).with("status", 200), REQUESTS));
        expected.push((Series::at("traffic_connections_opened_total", nginx.port(), role), CLIENTS));
        expected.push((Series::at("traffic_connections_closed_total", nginx.port(), role), CLIENTS));
    }
    mark.rises_by_exactly(&expected)?;
    let (scrape, after) = at_rest(&near, &agent)?;
    for (number, way) in ["receive", "transmit"].into_iter().enumerate() {
        let [bytes, packets] =
            ["traffic_interface_bytes_total", "traffic_interface_packets_total"].map(|name| {
                let series = Series::named(name).with("interface", "near0").with("direction", way);
                scrape.sum(&series) - scrape_before.sum(&series)
            });
        let by_xdp = flags.contains(&"--xdp");
        let torn = if way == "receive" && !by_xdp { sent[0].torn } else { Carriage::default() };
        let (carried, until) = (after[number], before[number]);
        // What is received is dropped behind the programs, where nobody wants it.
        let lost = carried.dropped - until.dropped;
        ensure!(way == "receive" || lost == 0, "near0 could not deliver {lost} frames");
        let frames = carried.packets - until.packets - torn.frames;
        // With XDP, a veth leaves the Ethernet header out of what it counts.
        let headers = if way == "receive" && by_xdp { frames * HEADER } else { 0 };
        let truth = [carried.bytes - until.bytes - torn.bytes + headers, frames];
        println!("{way}: measured {bytes} bytes in {packets} frames, by its statistics {truth:?}");
        ensure!([bytes, packets] == truth.map(|count| count as f64), "{way}: not what near0 has carried");
    }
    let told = Series::named("traffic_probe_unmeasured_total");
    for reason in scrape.values(&told, "reason") {
        println!("unmeasured for `{reason}`: {}", mark.rise(&scrape, &told.clone().with("reason", reason)));
    }
    // Data that comes to the listener and is of no connection is no connection that escaped.
    let opaque = told.with("reason", "opaque_protocol");
    ensure!(mark.rise(&scrape, &opaque) < 300.0, "what opened no connection is told as one");
    ensure!(!agent.log()?.contains("ERROR"), "the agent's log: {}", agent.log()?);
    Ok(())
}

#[test]
fn a_service_and_its_interface_are_counted_exactly_among_hostile_frames() -> Result<()> {
    all_is_exact(&[])
}

#[test]
fn a_driver_counts_hostile_frames_as_they_come() -> Result<()> {
    all_is_exact(&["--xdp", "near0"])
}
