//! What the socket programs leave alone.

use probe_tests::sk_buff::Context;

use crate::{
    frames::{ethernet, ipv4, ipv6, tcp, udp},
    loaded::Loaded,
};

/// A cgroup program's verdict: let the packet pass.
const ALLOW: u32 = 1;

#[test]
fn every_packet_passes_and_none_is_counted_to_a_service_that_has_no_tcp_socket() {
    let mut probe = Loaded::new(0);
    let packets = [
        ipv4(6, 0, &tcp()),
        ipv4(17, 0, &udp()),
        ipv6(6, &tcp()),
        ipv6(0, &tcp()),
        ipv4(6, 40, &tcp()),
        // An extension header that says it is longer than the packet.
        ipv6(0, &[6, 255, 0, 0, 0, 0, 0, 0]),
    ];
    for program in probe.socket_programs() {
        for packet in &packets {
            // The kernel takes the Ethernet header off.
            let frame = ethernet(if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }, packet);
            assert_eq!(probe.run(program, &frame, &Context::default(), 3), ALLOW, "{program}");
        }
    }
    assert_eq!(probe.sockets_counted(), (0, 0));
}
