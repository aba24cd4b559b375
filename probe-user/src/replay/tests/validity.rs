//! Sequence numbers that cannot be those of the connection.

use super::{
    kinds, nothing_escaped, only, replayed,
    wire::{
        Flags, GET, MS, OK, Packet,
        Sender::{self, Client, Server},
        Wire,
    },
};

const ACK: Flags = Flags { syn: false, fin: false, rst: false, ack: true };

/// A connection of two requests with a packet between them that nobody has sent: so far ahead in its own direction, and in
/// what it acknowledges.
fn disturbed(mut wire: Wire, from: Sender, flags: Flags, ahead: [u32; 2], bytes: &[u8]) -> Vec<Packet> {
    wire.ask(GET).wait(MS).answer(OK).ack(Client);
    let (me, peer) = (from as usize, 1 - from as usize);
    let (sequence, next) = (wire.next[me].wrapping_add(ahead[0]), wire.next[peer].wrapping_add(ahead[1]));
    let ip = wire.packet(from, sequence, next, flags, bytes);
    // Once more, as `-i any` captures it.
    for _ in 0..2 {
        wire.packets.push(Packet { time: wire.time, ip: ip.clone(), snap: usize::MAX });
    }
    wire.ask(GET).wait(MS).answer(OK).close();
    wire.packets
}

/// Begun within the capture, with windows of 64 KiB, and before it.
fn beginnings() -> [Wire; 2] {
    [Wire::open(), Wire::new()]
}

#[test]
fn one_absurd_number_is_no_traffic() {
    for ahead in [[402_000_000, 0], [0, 402_000_000], [402_000_000, 402_000_000], [1 << 31, 0], [0, 1 << 31]]
    {
        for from in [Client, Server] {
            for flags in [ACK, Flags { fin: true, ..ACK }, Flags { rst: true, ..ACK }] {
                for wire in beginnings() {
                    let report = replayed(&disturbed(wire, from, flags, ahead, b"forged"));
                    let service = only(&report);
                    let what = format!("{ahead:?} {from:?} {flags:?}: {service:#?}");
                    if flags.rst && ahead[0] == 0 || ahead == [1 << 31, 0] && !flags.rst {
                        // The first has the right number, and ends it; the second is taken for old.
                        continue;
                    }
                    assert_eq!(kinds(service), ["GET 200: 2"], "{what}");
                    assert_eq!((service.bytes.received, service.bytes.sent), (2 * 27, 2 * 43), "{what}");
                    assert_eq!(service.connections.closed, 1, "{what}");
                    assert_eq!(service.connections.reset, 0, "{what}");
                    assert_eq!(service.unmeasured, [("out_of_window", 2)].into(), "{what}");
                }
            }
        }
    }
}

/// Where the handshake is in the capture, the window is known to the byte.
#[test]
fn what_lies_beyond_the_window_is_not_accepted() {
    let at = |ahead| disturbed(Wire::open(), Client, ACK, [ahead, 0], b"GET / HTTP/1.1\r\n\r\n");
    let report = replayed(&at(65_536));
    assert_eq!((only(&report).bytes.received, kinds(only(&report))), (2 * 27, vec!["GET 200: 2".to_owned()]));
    // Within the window nothing tells it from a segment whose predecessors are missing.
    let report = replayed(&at(60_000));
    assert_eq!(only(&report).unmeasured.get("out_of_window"), None);
    assert!(only(&report).bytes.received > 60_000);
}

/// A capture lacks what its machine could not keep up with: megabytes, of both directions or of one.
#[test]
fn what_goes_on_behind_a_gap_is_accepted() {
    for lost in [[100_000, 0], [0, 3_000_000], [50_000_000, 70_000_000]] {
        for wire in beginnings() {
            let mut wire = wire;
            wire.ask(GET).wait(MS).answer(OK).ack(Client);
            wire.next = [wire.next[0].wrapping_add(lost[0]), wire.next[1].wrapping_add(lost[1])];
            for _ in 0..3 {
                wire.ask(GET).wait(MS).answer(OK).ack(Client);
            }
            wire.close();
            let report = replayed(&wire.packets);
            let service = only(&report);
            assert_eq!(service.unmeasured.get("out_of_window"), None, "{lost:?}: {service:#?}");
            let [received, sent] = lost.map(u64::from);
            assert_eq!(
                (service.bytes.received, service.bytes.sent),
                (4 * 27 + received, 4 * 43 + sent),
                "{lost:?}"
            );
            assert_eq!(service.connections.closed, 1, "{lost:?}");
            // What the gap took with it, the engine tells.
            assert!(service.responses >= 2, "{lost:?}: {service:#?}");
        }
    }
}

/// Of a capture of one direction alone.
#[test]
fn one_direction_is_enough() {
    let mut wire = Wire::open();
    for _ in 0..3 {
        wire.ask(GET).wait(MS).answer(OK);
        wire.next[1] = wire.next[1].wrapping_add(100_000);
    }
    let client: Vec<_> = wire.packets.iter().filter(|packet| packet.ip[15] == 2).cloned().collect();
    let report = replayed(&client);
    assert_eq!(only(&report).unmeasured, [].into(), "{report:#?}");
    assert_eq!((only(&report).bytes.received, only(&report).in_flight), (3 * 27, 3));
}

#[test]
fn windows_are_scaled_where_both_ends_say_so() {
    let mut wire = Wire::new();
    wire.scale = Some(7);
    wire.shake().ask(GET).answer(OK).ack(Client);
    // 1 MB of the answer's successor are missing, which a window of 8 MiB allows.
    wire.next[1] = wire.next[1].wrapping_add(1_000_000);
    wire.answer("more").close();
    let report = replayed(&wire.packets);
    assert_eq!(only(&report).unmeasured.get("out_of_window"), None, "{report:#?}");
    assert_eq!(only(&report).bytes.sent, 43 + 1_000_004);
    nothing_escaped(&replayed(&Wire::open().ask(GET).answer(OK).packets));
}
