//! Clocks of captures that go back.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{
    super::{
        Wanted, count,
        interrupt::Interrupt,
        render,
        report::{GoesBack, Order, Report},
    },
    Format, Link, file,
    files::{Fraction, Order as Bytes, three_requests},
    kinds, only, replayed,
    wire::{GET, MS, OK, Packet, START, Wire},
};

/// Replays files from a disk, where they can be read a second time.
fn from_disk(files: &[Vec<u8>]) -> Report {
    let directory = TempDir::new().unwrap();
    let write = |(number, bytes): (usize, &Vec<u8>)| -> PathBuf {
        let path = directory.path().join(format!("{number}.pcap"));
        fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<_> = files.iter().enumerate().map(write).collect();
    count(&paths, &Wanted::default(), &Interrupt::never()).unwrap()
}

fn pcap(packets: &[Packet]) -> Vec<u8> {
    file(Format::PCAP, Link::Ethernet, packets)
}

/// Three requests, no two packets of which have the same time.
fn spread() -> Vec<Packet> {
    let mut packets = three_requests();
    for (number, packet) in packets.iter_mut().enumerate() {
        packet.time += number as u64 * 1_000;
    }
    packets
}

/// That three requests have the times that they had, within a few microseconds.
fn is_right(report: &Report) {
    let service = only(report);
    assert_eq!(kinds(service), ["GET 200: 2", "POST 500: 1"], "{report:#?}");
    assert_eq!((service.duration.count, service.duration.unknown), (3, 0), "{report:#?}");
    assert!((service.duration.sum_seconds - 0.010).abs() < 1e-5, "{report:#?}");
    assert!((service.time_to_first_byte.sum_seconds - 0.009).abs() < 1e-5, "{report:#?}");
    assert_eq!(service.connections.opened, 1);
    assert!(service.unmeasured.is_empty() && report.capture.skipped.is_empty(), "{report:#?}");
}

#[test]
fn a_duration_within_which_time_goes_back_is_not_known() {
    let mut wire = Wire::open();
    wire.ask(GET).wait(2 * MS).answer(OK).wait(MS).ask(GET);
    wire.time -= 3_600_000 * MS;
    wire.answer(OK).wait(MS).ask(GET).wait(2 * MS).answer(OK).close();
    let report = replayed(&wire.packets);
    let service = only(&report);
    assert_eq!(kinds(service), ["GET 200: 3"]);
    for latency in [&service.duration, &service.time_to_first_byte] {
        assert_eq!((latency.count, latency.unknown), (2, 1));
        assert!((latency.sum_seconds - 0.004).abs() < 1e-9, "{latency:?}");
    }
    assert_eq!(report.capture.time_goes_back, Some(GoesBack { times: 1, seconds: 3_600.0 }));
    let text = render::text(&report);
    assert!(text.contains("\n10.0.0.1:80  durations not known, since time goes back: 1\n"), "{text}");
    assert!(
        text.contains("; time goes back once, by up to 3600.0 s: counted in the order of the file"),
        "{text}"
    );
}

/// A clock that jumps by more than the engine has bits for.
#[test]
fn a_jump_of_decades_gives_no_time() {
    for (there, back) in [(50, 0), (0, 50), (20, 80)] {
        let year = 365 * 86_400_000 * MS;
        let mut wire = Wire::open();
        wire.time += there * year / 10;
        wire.ask(GET);
        wire.time = START + back * year / 10;
        wire.answer(OK);
        let report = replayed(&wire.packets);
        assert_eq!((only(&report).duration.count, only(&report).duration.unknown), (0, 1), "{there} {back}");
        assert_eq!(kinds(only(&report)), ["GET 200: 1"]);
    }
}

/// The first record has more microseconds than a second has.
#[test]
fn a_first_packet_that_lies_ahead_takes_no_other_ones_time() {
    let mut packets = three_requests();
    let mut bytes = file(Format::Pcap(Bytes::Little, Fraction::Micro), Link::Ethernet, &packets);
    bytes[28..32].copy_from_slice(&1_700_000_u32.to_le_bytes());
    let report = super::replay(bytes.clone());
    is_right(&report);
    assert_eq!(report.capture.time_goes_back, Some(GoesBack { times: 1, seconds: 1.7 }));
    // By its time it would come when all is over.
    let report = from_disk(&[bytes]);
    is_right(&report);
    assert_eq!(report.capture.order, Order::File);
    // Hours ahead, and behind.
    for time in [START + 7_200_000 * MS, START - 7_200_000 * MS] {
        packets[0].time = time;
        is_right(&replayed(&packets));
        is_right(&from_disk(&[pcap(&packets)]));
    }
}

/// What clients have sent in one file, what the server has sent in another, put one behind the other.
#[test]
fn files_that_were_put_one_behind_the_other_are_sorted() {
    let (client, server): (Vec<_>, Vec<_>) = spread().into_iter().partition(|packet| packet.ip[15] == 2);
    let merged = pcap(&[client.clone(), server.clone()].concat());
    let report = from_disk(&[merged]);
    is_right(&report);
    assert_eq!(report.capture.order, Order::Time);
    let goes_back = report.capture.time_goes_back.unwrap();
    assert_eq!(goes_back.times, 1);
    assert!((goes_back.seconds - 0.012).abs() < 2e-5, "{goes_back:?}");
    let text = render::text(&report);
    assert!(
        text.contains("; time goes back once, by up to 12.0 ms: counted in the order of time\n"),
        "{text}"
    );
    // As two files they need no sorting.
    let report = from_disk(&[pcap(&server), pcap(&client)]);
    is_right(&report);
    assert_eq!((report.capture.order, report.capture.time_goes_back), (Order::File, None));
}

/// Queues of a network card that were read in turns.
#[test]
fn packets_that_changed_places_are_sorted() {
    let mut packets = spread();
    packets.swap(3, 4);
    packets.swap(8, 9);
    let report = from_disk(&[pcap(&packets)]);
    is_right(&report);
    assert_eq!(report.capture.order, Order::Time);
    assert_eq!(report.capture.time_goes_back.map(|back| back.times), Some(2));
}
