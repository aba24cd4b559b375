//! Peers in the kernel: each counted under its own address, and no more of them than there may be.

use std::{collections::BTreeMap, net::Ipv6Addr};

use aya::maps::{Array, HashMap};
use probe_common::{
    connection::{Connection, Side, Stage},
    peer::{CLOSED, PeerCell, PeerKey},
    reason::Reason,
    user::mapped,
};
use probe_fuzz::script::Delivery;
use probe_user::{peer_networks::PeerNetworks, settings::PeerLimits};

use crate::trial::Trial;

/// An address of a test's own.
fn address(number: u8) -> [u8; 16] {
    mapped([192, 0, 2, number])
}

fn key(service: u32, address: [u8; 16]) -> PeerKey {
    PeerKey { address, service, network: 0 }
}

/// Has a service asked on a connection with a peer, and answer with these statuses.
fn talk(trial: &mut Trial, service: u32, peer: [u8; 16], statuses: &[u16]) {
    let mut connection = Connection { stage: Stage::Open, service, client: peer, ..Connection::default() };
    connection.request.begin_at(1);
    connection.response.begin_at(1);
    trial.begin(&connection);
    let mut at = [1, 1];
    for status in statuses {
        let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
        let texts =
            [(Side::Request, "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()), (Side::Response, answer)];
        for (side, text) in texts {
            let sequence = at[side as usize];
            let bytes = text.into_bytes();
            at[side as usize] += u32::try_from(bytes.len()).expect("a test is short");
            trial.deliver(&Delivery { side, sequence, bytes, acknowledged: 1, fin: false, time: 0 });
        }
    }
}

/// Requests, and those of them that each side is blamed for.
fn figures(cell: &PeerCell) -> [u64; 3] {
    [cell.requests, cell.blamed_on_client, cell.blamed_on_server]
}

fn counted(peers: &BTreeMap<PeerKey, PeerCell>) -> BTreeMap<PeerKey, u64> {
    peers.iter().map(|(key, cell)| (*key, cell.requests)).collect()
}

#[test]
fn each_peer_of_each_service_has_its_own() {
    let limits = PeerLimits { total: 100, per_service: 100 };
    let Some(mut trial) = Trial::with_peers(limits, &PeerNetworks::NONE) else { return };
    let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets();
    talk(&mut trial, 1, address(1), &[200, 404, 503, 200]);
    talk(&mut trial, 1, address(2), &[500, 500]);
    talk(&mut trial, 2, address(1), &[200]);
    talk(&mut trial, 1, six, &[204, 301, 499]);
    talk(&mut trial, 1, address(1), &[200]);
    let peers = trial.peers();
    let found: BTreeMap<_, _> = peers.iter().map(|(key, cell)| (*key, figures(cell))).collect();
    let expected = [
        (key(1, address(1)), [5, 1, 1]),
        (key(1, address(2)), [2, 0, 2]),
        (key(2, address(1)), [1, 0, 0]),
        (key(1, six), [3, 1, 0]),
    ];
    assert_eq!(found, expected.into());
    for (key, cell) in peers {
        assert!(cell.nanoseconds >= cell.requests, "{key:?} took {} ns", cell.nanoseconds);
    }
    assert_eq!(trial.other_peers(1), PeerCell::default());
}

#[test]
fn one_service_cannot_take_the_room_of_another() {
    let Some(mut trial) = Trial::with_peers(PeerLimits { total: 15, per_service: 10 }, &PeerNetworks::NONE)
    else {
        return;
    };
    for number in 1..=30 {
        talk(&mut trial, 1, address(number), &[200, 500]);
        // The reasons restart at zero with each connection.
        let turned_away = trial.counts().unmeasured.get(&Reason::PeersFull).copied().unwrap_or_default();
        assert_eq!(turned_away, if number > 10 { 2 } else { 0 }, "peer {number}");
    }
    assert_eq!(trial.peers().len(), 10);
    assert_eq!(figures(&trial.other_peers(1)), [40, 0, 20]);
    for number in 1..=10 {
        talk(&mut trial, 2, address(number), &[200]);
    }
    let of_second = trial.peers().keys().filter(|key| key.service == 2).count();
    assert_eq!((of_second, trial.other_peers(2).requests), (5, 5), "all together may have 15");
    // What has an entry keeps it.
    talk(&mut trial, 1, address(3), &[200]);
    assert_eq!(trial.peers()[&key(1, address(3))].requests, 3);
}

#[test]
fn while_peers_leave_nobody_touches_them_and_all_others_are_counted_as_ever() {
    let limits = PeerLimits { total: 100, per_service: 100 };
    let Some(mut trial) = Trial::with_peers(limits, &PeerNetworks::NONE) else { return };
    for number in [1, 2] {
        talk(&mut trial, 1, address(number), &[200]);
    }
    let mut leaving: HashMap<_, PeerKey, u32> = trial.map_mut("LEAVING_PEERS");
    leaving.insert(key(1, address(1)), 0, 0).expect("the map has room");
    // It is the flag that has programs look there.
    talk(&mut trial, 1, address(1), &[200]);
    let mut flag: Array<_, u64> = trial.map_mut("PEERS_CLOSED");
    flag.set(0, CLOSED, 0).expect("the map has the entry");
    for number in [1, 2, 3] {
        talk(&mut trial, 1, address(number), &[200]);
    }
    let expected = [(key(1, address(1)), 2), (key(1, address(2)), 2)];
    assert_eq!(counted(&trial.peers()), expected.into());
    assert_eq!(trial.other_peers(1).requests, 2, "the one that leaves, and the one that is new");
    assert_eq!(trial.counts().unmeasured, BTreeMap::new());
}

#[test]
fn a_network_is_one_peer_and_the_longest_prefix_decides() {
    let typed = ["192.0.2.0/24=lab", "192.0.2.8/29=office", "2001:db8::/32=lab", "::/0=world"];
    let networks: PeerNetworks = typed.iter().map(|typed| typed.parse().expect("a network")).collect();
    let limits = PeerLimits { total: 100, per_service: 3 };
    let Some(mut trial) = Trial::with_peers(limits, &networks) else { return };
    for number in 1..=20 {
        talk(&mut trial, 1, address(number), &[200]);
    }
    talk(&mut trial, 1, Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1).octets(), &[200]);
    talk(&mut trial, 1, Ipv6Addr::LOCALHOST.octets(), &[200]);
    // No network of IPv6 has addresses of IPv4 in it.
    talk(&mut trial, 2, mapped([203, 0, 113, 1]), &[200]);
    let of = |service, network| PeerKey { address: [0; 16], service, network };
    let expected = [(of(1, 1), 13), (of(1, 2), 8), (of(1, 3), 1), (key(2, mapped([203, 0, 113, 1])), 1)];
    assert_eq!(counted(&trial.peers()), expected.into(), "lab, office and world");
}
