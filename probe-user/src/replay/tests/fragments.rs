//! IP fragments.

use super::{
    kinds, nothing_escaped, only, replayed,
    wire::{GET, MS, OK, Packet, Wire},
};

/// Bytes of payload in a fragment.
const SIZE: usize = 16;

/// Takes a packet apart.
fn fragments(packet: &Packet, identification: u16) -> Vec<Packet> {
    let version6 = packet.ip[0] >> 4 == 6;
    let (header, payload) = packet.ip.split_at(if version6 { 40 } else { 20 });
    let pieces = payload.chunks(SIZE).count();
    payload
        .chunks(SIZE)
        .enumerate()
        .map(|(index, piece)| {
            let mut ip = header.to_vec();
            let more = index + 1 < pieces;
            let offset = (index * SIZE) as u16;
            if version6 {
                ip[4..6].copy_from_slice(&(piece.len() as u16 + 8).to_be_bytes());
                let next = std::mem::replace(&mut ip[6], 44);
                ip.extend([next, 0]);
                ip.extend((offset | u16::from(more)).to_be_bytes());
                ip.extend(u32::from(identification).to_be_bytes());
            } else {
                ip[2..4].copy_from_slice(&(piece.len() as u16 + 20).to_be_bytes());
                ip[4..6].copy_from_slice(&identification.to_be_bytes());
                ip[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
            }
            ip.extend_from_slice(piece);
            Packet { ip, ..packet.clone() }
        })
        .collect()
}

fn conversation(client: &str, server: &str) -> Vec<Packet> {
    let mut wire = Wire::between(client, server);
    wire.shake().ask(GET).wait(MS).answer(OK).close();
    wire.packets
}

const IPV4: [&str; 2] = ["10.0.0.2:40000", "10.0.0.1:80"];
const IPV6: [&str; 2] = ["[fd00::2]:40000", "[fd00::1]:80"];

#[test]
fn they_are_put_together_in_whatever_order_they_come() {
    for [client, server] in [IPV4, IPV6] {
        for reversed in [false, true] {
            let mut pieces = Vec::new();
            for (number, packet) in conversation(client, server).iter().enumerate() {
                let mut fragments = fragments(packet, number as u16);
                if reversed {
                    fragments.reverse();
                }
                assert!(fragments.len() > 1);
                pieces.extend(fragments);
            }
            let report = replayed(&pieces);
            nothing_escaped(&report);
            assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
            assert_eq!((only(&report).bytes.received, only(&report).bytes.sent), (27, 43));
        }
    }
}

#[test]
fn a_packet_with_a_fragment_missing_is_lost() {
    for [client, server] in [IPV4, IPV6] {
        let packets = conversation(client, server);
        let mut pieces = packets[..4].to_vec();
        let mut answer = fragments(&packets[4], 7);
        answer.remove(1);
        let lost = answer.len() as u64;
        pieces.extend(answer);
        let report = replayed(&pieces);
        assert_eq!(report.capture.skipped, [("lost_fragment", lost)].into());
        assert_eq!((only(&report).requests, only(&report).in_flight), (0, 1));
    }
}

/// Identifications are used again; what an old packet left must not become part of a new one.
#[test]
fn fragments_do_not_wait_for_ever() {
    let packets = conversation(IPV4[0], IPV4[1]);
    let mut pieces = packets[..4].to_vec();
    let mut old = fragments(&packets[4], 7);
    old.pop();
    // Other bytes, which would show.
    for piece in &mut old {
        piece.ip[25] ^= 0xff;
    }
    let lost = old.len() as u64;
    pieces.extend(old);
    let later = Packet { time: packets[4].time + 31_000 * MS, ..packets[4].clone() };
    pieces.extend(fragments(&later, 7));
    let report = replayed(&pieces);
    assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    assert_eq!(report.capture.skipped, [("lost_fragment", lost)].into());
}

#[test]
fn what_is_kept_of_them_is_bounded() {
    let packets = conversation(IPV4[0], IPV4[1]);
    let mut pieces = Vec::new();
    for number in 0..2_000 {
        pieces.push(fragments(&packets[4], number).remove(0));
    }
    // The newest are still there: these are the rest of the last one.
    pieces.splice(0..0, packets[..4].iter().cloned());
    pieces.extend(fragments(&packets[4], 1_999).split_off(1));
    let report = replayed(&pieces);
    assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    assert_eq!(report.capture.skipped, [("lost_fragment", 1_999)].into());
}

#[test]
fn a_fragment_that_was_cut_is_not_used() {
    let packets = conversation(IPV4[0], IPV4[1]);
    let mut pieces = packets[..4].to_vec();
    let mut answer = fragments(&packets[4], 7);
    answer[1].snap = 14 + 20 + 3;
    pieces.extend(answer);
    let report = replayed(&pieces);
    assert_eq!(report.capture.skipped.get("cut_fragment"), Some(&1));
    assert_eq!(only(&report).in_flight, 1);
}
