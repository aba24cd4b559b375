//! Nothing in a file may bring the program down, or make it say more than there was.

use std::io::Cursor;

use proptest::prelude::*;

use super::{
    super::{render, routes::Routes},
    Format, Link, count, file,
    files::three_requests,
};

/// Counts whatever it is, shows it in both forms, and gives the number of requests.
fn survives(bytes: Vec<u8>) -> u64 {
    let Ok(report) = count(Cursor::new(bytes), "test", 4, Routes::Counted) else { return 0 };
    assert!(render::text(&report).ends_with('\n'));
    assert!(render::json(&report).unwrap().ends_with("}\n"));
    report.services.iter().map(|service| service.requests).sum()
}

fn formats() -> impl Strategy<Value = Format> {
    prop::sample::select(Format::ALL.to_vec())
}

fn links() -> impl Strategy<Value = Link> {
    prop::sample::select(Link::OF_BOTH.to_vec())
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        survives(bytes);
    }

    #[test]
    fn any_bytes_behind_a_header_are_survived(
        format in formats(),
        link in links(),
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let mut file = file(format, link, &[]);
        file.extend(bytes);
        survives(file);
    }

    #[test]
    fn a_file_may_be_cut_anywhere(format in formats(), link in links(), part in 0.0..1.0_f64) {
        let mut file = file(format, link, &three_requests());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
        file.truncate((file.len() as f64 * part) as usize);
        prop_assert!(survives(file) <= 3);
    }

    #[test]
    fn any_bytes_of_a_file_may_be_changed(
        format in formats(),
        link in links(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut file = file(format, link, &three_requests());
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        survives(file);
    }

    #[test]
    fn any_bytes_of_packets_may_be_changed(
        link in links(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..20),
        snap in 0..200_usize,
    ) {
        let mut packets = three_requests();
        for (packet, at, value) in changes {
            let packet = packet.index(packets.len());
            // In the headers, or right behind them.
            let at = at.index(packets[packet].ip.len().min(60));
            packets[packet].ip[at] = value;
        }
        for packet in &mut packets {
            packet.snap = snap;
        }
        survives(file(Format::PCAP, link, &packets));
    }
}
