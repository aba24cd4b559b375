//! Packets within packets.

use etherparse::{IpNumber, PacketBuilder};
use proptest::prelude::*;

use super::{
    Format, Link, file,
    files::three_requests,
    kinds, nothing_escaped, only, replay, replayed,
    wire::{GET, OK, Packet, Wire},
};

/// A way to send an IP packet within another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    Vxlan(u16),
    VxlanGpe,
    VxlanGpeEthernet,
    Geneve,
    GeneveIp,
    Gre,
    GreKeyed,
    GreEthernet,
    Erspan1,
    Erspan2,
    Erspan3,
    Pptp,
    IpInIp,
    EthernetInIp,
    MplsInUdp,
    MplsInIp,
}

impl Tunnel {
    const ALL: [Self; 17] = [
        Self::Vxlan(4789),
        Self::Vxlan(8472),
        Self::VxlanGpe,
        Self::VxlanGpeEthernet,
        Self::Geneve,
        Self::GeneveIp,
        Self::Gre,
        Self::GreKeyed,
        Self::GreEthernet,
        Self::Erspan1,
        Self::Erspan2,
        Self::Erspan3,
        Self::Pptp,
        Self::IpInIp,
        Self::EthernetInIp,
        Self::MplsInUdp,
        Self::MplsInIp,
    ];

    /// The packet within one between two nodes, over the other version of IP where that is asked for.
    fn wrap(self, ip: &[u8], version6: bool) -> Vec<u8> {
        let inner6 = ip[0] >> 4 == 6;
        let ether_type: [u8; 2] = if inner6 { [0x86, 0xdd] } else { [8, 0] };
        let frame = Link::Ethernet.frame(ip);
        let label = [0, 1, 0x61, 64];
        let plain = if inner6 { 41 } else { 4 };
        let (carrier, header, body): (u16, Vec<u8>, &[u8]) = match self {
            Self::Vxlan(port) => (port, vec![8, 0, 0, 0, 0, 0, 7, 0], &frame),
            Self::VxlanGpe => (4790, vec![0x0c, 0, 0, if inner6 { 2 } else { 1 }, 0, 0, 7, 0], ip),
            Self::VxlanGpeEthernet => (4790, vec![0x0c, 0, 0, 3, 0, 0, 7, 0], &frame),
            Self::Geneve => (6081, vec![2, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 1, 1, 1, 0, 0, 0, 9], &frame),
            Self::GeneveIp => (6081, [&[0, 0][..], &ether_type, &[0, 0, 7, 0]].concat(), ip),
            Self::Gre => (47, [&[0, 0][..], &ether_type].concat(), ip),
            Self::GreKeyed => (47, [&[0xb0, 0][..], &ether_type, &[1; 12]].concat(), ip),
            Self::GreEthernet => (47, vec![0x20, 0, 0x65, 0x58, 0, 0, 7, 0], &frame),
            Self::Erspan1 => (47, vec![0, 0, 0x88, 0xbe], &frame),
            Self::Erspan2 => (47, [&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1][..], &[0x10; 8]].concat(), &frame),
            Self::Erspan3 => {
                (47, [&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1][..], &[0x20; 10], &[0, 1], &[9; 8]].concat(), &frame)
            }
            Self::Pptp => (
                47,
                [&[0x30, 0x81, 0x88, 0x0b][..], &[1; 12], &[0xff, 3, 0, if inner6 { 0x57 } else { 0x21 }]]
                    .concat(),
                ip,
            ),
            Self::IpInIp => (plain, Vec::new(), ip),
            Self::EthernetInIp => (97, vec![0x30, 0], &frame),
            Self::MplsInUdp => (6635, label.to_vec(), ip),
            Self::MplsInIp => (137, label.to_vec(), ip),
        };
        outer(carrier, &[&header, body].concat(), version6)
    }
}

/// A packet between two nodes, in UDP to a port or, below 256, of a protocol.
fn outer(carrier: u16, payload: &[u8], version6: bool) -> Vec<u8> {
    let builder = if version6 {
        PacketBuilder::ipv6([0xfd; 16], [0xfe; 16], 64)
    } else {
        PacketBuilder::ipv4([192, 168, 7, 1], [192, 168, 7, 2], 64)
    };
    let mut packet = Vec::new();
    match u8::try_from(carrier) {
        Ok(protocol) => builder.write(&mut packet, IpNumber(protocol), payload),
        Err(_) => builder.udp(54_321, carrier).write(&mut packet, payload),
    }
    .unwrap();
    packet
}

fn wrapped(packets: &[Packet], wrap: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Packet> {
    packets.iter().map(|packet| Packet { ip: wrap(&packet.ip), ..packet.clone() }).collect()
}

#[test]
fn every_overlay_comes_to_what_is_in_it() {
    let mut wire = Wire::between("[fd00::2]:40000", "[fd00::1]:80");
    wire.shake().ask(GET).answer(OK).close();
    for tunnel in Tunnel::ALL {
        for version6 in [false, true] {
            let report = replayed(&wrapped(&three_requests(), |ip| tunnel.wrap(ip, version6)));
            nothing_escaped(&report);
            assert_eq!(only(&report).service, "10.0.0.1:80", "{tunnel:?}");
            assert_eq!(kinds(only(&report)), ["GET 200: 2", "POST 500: 1"], "{tunnel:?}");
            assert_eq!((only(&report).bytes.received, only(&report).bytes.sent), (96, 126), "{tunnel:?}");

            let report = replayed(&wrapped(&wire.packets, |ip| tunnel.wrap(ip, version6)));
            nothing_escaped(&report);
            assert_eq!(kinds(only(&report)), ["GET 200: 1"], "{tunnel:?}");
        }
    }
}

/// A node's uplink, and the interface of the pod, in one capture.
#[test]
fn a_packet_within_a_tunnel_and_without_counts_once() {
    let plain = three_requests();
    let packets: Vec<_> = plain
        .iter()
        .flat_map(|packet| {
            let within = Packet { ip: Tunnel::Vxlan(8472).wrap(&packet.ip, false), ..packet.clone() };
            [packet.clone(), within]
        })
        .collect();
    let report = replayed(&packets);
    assert_eq!(kinds(only(&report)), ["GET 200: 2", "POST 500: 1"]);
    assert_eq!((only(&report).bytes.received, only(&report).bytes.sent), (96, 126));
    assert_eq!(report.services.len(), 1, "{report:#?}");
}

#[test]
fn what_is_not_read_is_told_apart() {
    let [vxlan, esp, dns, icmp] = [
        // One with ARP in it.
        outer(4789, &[&[8, 0, 0, 0, 0, 0, 7, 0][..], &[0; 12], &[8, 6], &[0; 28]].concat(), false),
        outer(50, &[7; 100], false),
        outer(5353, &[7; 100], false),
        outer(1, &[8, 0, 0, 0, 0, 0, 0, 0], false),
    ];
    // Which begins as none does.
    let other = outer(4789, &[0; 100], false);
    let bridge = outer(47, &[&[0, 0, 0x88, 0xcc][..], &[0; 50]].concat(), false);
    let nested = (0..9).fold(three_requests()[0].ip.clone(), |ip, _| Tunnel::IpInIp.wrap(&ip, false));
    let packets =
        [vxlan, esp, dns, icmp, other, bridge, nested].map(|ip| Packet { time: 0, ip, snap: usize::MAX });
    let report = replayed(&packets);
    assert_eq!(report.capture.skipped, [("not_ip", 1), ("not_tcp", 1), ("tunnel", 3), ("udp", 2)].into());
    assert!(report.services.is_empty());
    // Once less is read.
    let nested =
        wrapped(&three_requests(), |ip| (0..8).fold(ip.to_vec(), |ip, _| Tunnel::IpInIp.wrap(&ip, true)));
    assert_eq!(kinds(only(&replayed(&nested))), ["GET 200: 2", "POST 500: 1"]);
}

/// The packets of a node's uplink are larger than a pod's by what the overlay adds, and so cut, or captured in part.
#[test]
fn an_overlay_may_come_in_fragments_and_be_cut() {
    let mut packets = wrapped(&three_requests(), |ip| Tunnel::Geneve.wrap(ip, false));
    for packet in &mut packets {
        // The headers, and no more.
        packet.snap = 14 + 20 + 8 + 16 + 14 + 20 + 20 + 12;
    }
    let report = replayed(&packets);
    assert_eq!(only(&report).connections.opened, 1);
    assert_eq!((only(&report).bytes.received, only(&report).bytes.sent), (96, 126));
    assert!(report.capture.skipped.is_empty(), "{report:#?}");
}

proptest! {
    #[test]
    fn any_bytes_within_a_tunnel_are_survived(
        carrier in prop::sample::select(vec![4_u16, 41, 47, 97, 137, 4789, 4790, 6081, 6635, 8472]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        version6 in any::<bool>(),
        snap in 0..400_usize,
    ) {
        let packet = Packet { time: 0, ip: outer(carrier, &bytes, version6), snap };
        replay(file(Format::PCAP, Link::Ethernet, &[packet]));
    }

    #[test]
    fn any_bytes_of_an_overlay_may_be_changed(
        tunnel in prop::sample::select(Tunnel::ALL.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut packets = wrapped(&three_requests(), |ip| tunnel.wrap(ip, false));
        for (packet, at, value) in changes {
            let packet = packet.index(packets.len());
            let at = at.index(packets[packet].ip.len().min(90));
            packets[packet].ip[at] = value;
        }
        replay(file(Format::PCAP, Link::Ethernet, &packets));
    }
}
