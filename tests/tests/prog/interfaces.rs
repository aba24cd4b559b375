//! What the interface programs count.

use probe_common::{
    counters::Volume,
    interface::{Family, Transport, Way},
};
use probe_tests::sk_buff::Context;

use crate::{
    frames::{PAYLOAD, ethernet, ipv4, ipv6, tagged, tcp, udp},
    loaded::Loaded,
};

const ETHERNET: u64 = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// `TC_ACT_UNSPEC`, which is also `TCX_NEXT`: the next program decides.
const UNSPECIFIED: u32 = u32::MAX;
const XDP_PASS: u32 = 2;

fn volume(frame: &[u8], packets: u64) -> Volume {
    Volume { bytes: frame.len() as u64 * packets, packets }
}

#[test]
fn each_way_family_and_transport_is_counted_apart_and_exactly() {
    let mut probe = Loaded::new(ETHERNET);
    let cases = [
        (ethernet(IPV4, &ipv4(TCP, 0, &tcp())), Family::Ipv4, Transport::Tcp),
        (ethernet(IPV4, &ipv4(UDP, 0, &udp())), Family::Ipv4, Transport::Udp),
        (ethernet(IPV4, &ipv4(1, 0, &[8; 64])), Family::Ipv4, Transport::Icmp),
        (ethernet(IPV4, &ipv4(47, 0, &[0; 64])), Family::Ipv4, Transport::Other),
        (ethernet(IPV6, &ipv6(TCP, &tcp())), Family::Ipv6, Transport::Tcp),
        (ethernet(IPV6, &ipv6(UDP, &udp())), Family::Ipv6, Transport::Udp),
        (ethernet(IPV6, &ipv6(58, &[128; 64])), Family::Ipv6, Transport::Icmp),
        (ethernet(ARP, &[0; 46]), Family::Other, Transport::Other),
    ];
    let mut expected = Vec::new();
    for (way, program) in [(Way::Receive, "interface_receive"), (Way::Transmit, "interface_transmit")] {
        for (i, (frame, family, transport)) in cases.iter().enumerate() {
            let times = u32::try_from(i + 1).expect("a small number");
            assert_eq!(probe.run(program, frame, &Context::default(), times), UNSPECIFIED);
            expected.push((way, *family, *transport, volume(frame, u64::from(times))));
        }
    }
    assert_eq!(probe.counted(), expected);
}

#[test]
fn an_offload_buffer_counts_as_the_frames_that_it_becomes() {
    let mut probe = Loaded::new(ETHERNET);
    let cases = [
        (ethernet(IPV4, &ipv4(TCP, 0, &tcp())), Family::Ipv4, 14 + 20 + 32),
        (ethernet(IPV6, &ipv6(TCP, &tcp())), Family::Ipv6, 14 + 40 + 32),
    ];
    let mut expected = Vec::new();
    for (frame, family, headers) in cases {
        assert_eq!(
            probe.run("interface_transmit", &frame, &Context { gso_segs: 4, ..Context::default() }, 10),
            UNSPECIFIED
        );
        let bytes = (frame.len() as u64 + 3 * headers) * 10;
        expected.push((Way::Transmit, family, Transport::Tcp, Volume { bytes, packets: 40 }));
    }
    assert_eq!(probe.counted(), expected);
}

#[test]
fn extension_headers_do_not_hide_the_transport() {
    let mut probe = Loaded::new(ETHERNET);
    let hop_by_hop = [&[TCP, 0, 0xc2, 4, 0, 1, 0, 0][..], &tcp()].concat();
    let destination = [&[0, 1][..], &[0; 14], &hop_by_hop].concat();
    let mut bytes = 0;
    for (first, payload) in [(0, &hop_by_hop), (60, &destination)] {
        let frame = ethernet(IPV6, &ipv6(first, payload));
        probe.run("interface_transmit", &frame, &Context::default(), 1);
        bytes += frame.len() as u64;
    }
    assert_eq!(
        probe.counted(),
        [(Way::Transmit, Family::Ipv6, Transport::Tcp, Volume { bytes, packets: 2 })]
    );
}

#[test]
fn extension_headers_may_be_as_long_as_they_can_and_end_nowhere() {
    let mut probe = Loaded::new(ETHERNET);
    // Of so many times eight bytes and eight more, full of what looks like headers.
    let header = |next: u8, words: u8| [vec![next, words], vec![17; usize::from(words) * 8 + 6]].concat();
    let (one, two) = (header(TCP, 255), [header(60, 149), header(TCP, 100)].concat());
    // One that says that it is longer than the packet, one that is cut off behind its first byte, and a ring that does not end.
    let (beyond, cut, ring) =
        ([&[TCP, 200][..], &tcp()].concat(), vec![TCP], [60, 0, 0, 0, 0, 0, 0, 0].repeat(8));
    let mut expected = Vec::new();
    for (payload, transport) in [
        ([one, tcp()].concat(), Transport::Tcp),
        ([two, tcp()].concat(), Transport::Tcp),
        // What follows is what it says, wherever that would be.
        (beyond, Transport::Tcp),
        (cut, Transport::Other),
        (ring, Transport::Other),
    ] {
        let frame = ethernet(IPV6, &ipv6(60, &payload));
        probe.run("interface_transmit", &frame, &Context { gso_segs: 2, ..Context::default() }, 1);
        let headers =
            if transport == Transport::Tcp && payload.len() > 2000 { frame.len() - PAYLOAD } else { 0 };
        let bytes = (frame.len() + headers) as u64;
        expected.push((transport, bytes));
    }
    let sum =
        |wanted| expected.iter().filter(|(transport, _)| *transport == wanted).map(|(_, bytes)| bytes).sum();
    assert_eq!(
        probe.counted(),
        [
            (Way::Transmit, Family::Ipv6, Transport::Tcp, Volume { bytes: sum(Transport::Tcp), packets: 6 }),
            (
                Way::Transmit,
                Family::Ipv6,
                Transport::Other,
                Volume { bytes: sum(Transport::Other), packets: 4 }
            ),
        ]
    );
}

#[test]
fn options_and_tags_do_not_hide_the_transport() {
    let mut probe = Loaded::new(ETHERNET);
    let frames = [
        ethernet(IPV4, &ipv4(TCP, 40, &tcp())),
        ethernet(0x8100, &tagged(5, IPV4, &ipv4(TCP, 0, &tcp()))),
        ethernet(0x88a8, &tagged(7, 0x8100, &tagged(5, IPV4, &ipv4(TCP, 0, &tcp())))),
    ];
    let mut bytes = 0;
    for frame in &frames {
        probe.run("interface_driver", frame, &Context::default(), 1);
        bytes += frame.len() as u64;
    }
    assert_eq!(probe.counted(), [(Way::Receive, Family::Ipv4, Transport::Tcp, Volume { bytes, packets: 3 })]);
}

#[test]
fn a_driver_s_frames_are_counted_as_they_come() {
    let mut probe = Loaded::new(ETHERNET);
    let frame = ethernet(IPV6, &ipv6(UDP, &udp()));
    assert_eq!(probe.run("interface_driver", &frame, &Context::default(), 1000), XDP_PASS);
    assert_eq!(probe.counted(), [(Way::Receive, Family::Ipv6, Transport::Udp, volume(&frame, 1000))]);
}

#[test]
fn frames_that_are_cut_short_are_counted_by_what_they_show() {
    let mut probe = Loaded::new(ETHERNET);
    let whole = ethernet(IPV4, &ipv4(TCP, 0, &tcp()));
    // The kernel runs a driver's program over no less than an Ethernet header, and one of TC over no less than the IP
    // header behind it too.
    let cases = [("interface_driver", 14, XDP_PASS), ("interface_receive", 34, UNSPECIFIED)];
    let (mut frames, mut expected) = (0, 0);
    for (program, least, verdict) in cases {
        for length in least..whole.len() {
            assert_eq!(probe.run(program, &whole[..length], &Context::default(), 1), verdict);
            frames += 1;
            expected += length as u64;
        }
    }
    let counted = probe.counted();
    let bytes: u64 = counted.iter().map(|(.., volume)| volume.bytes).sum();
    let packets: u64 = counted.iter().map(|(.., volume)| volume.packets).sum();
    assert_eq!((bytes, packets), (expected, frames), "{counted:?}");
}

#[test]
fn an_interface_that_is_not_followed_is_not_counted() {
    let mut probe = Loaded::new(ETHERNET);
    probe.forget_loopback();
    let frame = ethernet(IPV4, &ipv4(TCP, 0, &tcp()));
    assert_eq!(probe.run("interface_receive", &frame, &Context::default(), 10), UNSPECIFIED);
    assert_eq!(probe.run("interface_driver", &frame, &Context::default(), 10), XDP_PASS);
    probe.follow_loopback(ETHERNET);
    assert_eq!(probe.counted(), []);
}
