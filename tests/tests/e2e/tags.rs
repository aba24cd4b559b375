//! Tags of VLANs: they hide neither what a frame carries nor their own bytes.
//!
//! The kernel takes the outermost tag out of each packet that it receives, before any program sees it. The truth is the
//! interface's own statistics, which count frames as the cable carried them.

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::Setup,
    frames::FrameSender,
    metrics::{Scrape, Series},
    netns::Netns,
    poll,
};

const FRAMES: u64 = 100;
const IPV4: u16 = 0x0800;
const CUSTOMER: u16 = 0x8100;
const PROVIDER: u16 = 0x88a8;

/// A UDP datagram over IPv4, to nobody, behind these tags.
fn frame(tags: &[u16]) -> Vec<u8> {
    let mut frame = [[0xff; 6], [2, 0, 0, 0, 0, 9]].concat();
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 42]);
    }
    frame.extend(IPV4.to_be_bytes());
    frame.extend([0x45, 0, 0, 128, 0, 0, 0, 0, 64, 17, 0, 0, 198, 51, 100, 1, 198, 51, 100, 2]);
    frame.extend([0, 9, 0, 9, 0, 108, 0, 0]);
    frame.extend([0; 100]);
    frame
}

fn datagrams(scrape: &Scrape, name: &'static str, way: &'static str) -> f64 {
    let series = Series::named(name).with("interface", "near0").with("direction", way);
    scrape.sum(&series.with("transport", "udp").with("family", "ipv4"))
}

#[expect(clippy::float_cmp, reason = "counts, which a float holds exactly")]
fn tagged_frames_are_counted(tags: &[u16]) -> Result<()> {
    let (near, far) = (Netns::new()?, Netns::new()?);
    for netns in [&near, &far] {
        netns.set("ipv6/conf/default/disable_ipv6", "1")?;
    }
    near.cable("near0", &far, "far0")?;
    let agent = Setup::default().within(&near).start()?;
    let frame = frame(tags);
    let before = near.statistics("near0")?;
    for sender in [FrameSender::new(&far, "far0")?, FrameSender::new(&near, "near0")?] {
        (0..FRAMES).try_for_each(|_| sender.send(&frame))?;
    }
    let after = poll::until("the frames to arrive", || {
        let after = near.statistics("near0")?;
        Ok((after[0].packets - before[0].packets >= FRAMES).then_some(after))
    })?;
    let scrape = agent.collected()?;
    for (number, way) in ["receive", "transmit"].into_iter().enumerate() {
        let truth =
            [after[number].bytes - before[number].bytes, after[number].packets - before[number].packets];
        let measured = ["traffic_interface_bytes_total", "traffic_interface_packets_total"]
            .map(|name| datagrams(&scrape, name, way));
        println!("tags {tags:x?}, {way}: measured {measured:?}, by its statistics {truth:?}");
        ensure!(
            truth == [FRAMES * u64::try_from(frame.len()).context("a length")?, FRAMES],
            "the truth is {truth:?}"
        );
        ensure!(measured == truth.map(|count| count as f64), "{way}: {measured:?} instead of {truth:?}");
    }
    Ok(())
}

#[test]
fn frames_without_a_tag() -> Result<()> {
    tagged_frames_are_counted(&[])
}

#[test]
fn frames_of_a_vlan() -> Result<()> {
    tagged_frames_are_counted(&[CUSTOMER])
}

#[test]
fn frames_of_a_vlan_within_another() -> Result<()> {
    tagged_frames_are_counted(&[PROVIDER, CUSTOMER])
}
