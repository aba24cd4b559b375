//! Files that are damaged, and such as are no captures.

use std::io::{self, Cursor, Read};

use super::{
    super::{report::Report, routes::Routes},
    Format, Link, count, file,
    files::three_requests,
    kinds, only,
};

fn damaged(file: Vec<u8>) -> (Report, String) {
    let report = count(Cursor::new(file), "test", 1_000, Routes::Counted).expect("a capture");
    let error = report.capture.error.clone().expect("damage");
    (report, error)
}

#[test]
fn a_file_that_was_cut_off_is_read_as_far_as_it_goes() {
    for format in Format::ALL {
        let mut file = file(format, Link::Ethernet, &three_requests());
        let length = file.len();
        // In the last packet, the answer's acknowledgement: all requests are before it.
        file.truncate(length - 10);
        let (report, error) = damaged(file);
        assert_eq!(kinds(only(&report)), ["GET 200: 2", "POST 500: 1"], "{format:?}");
        assert!(error.contains("behind 12 packets: the file ends in the middle"), "{format:?}: {error}");
        assert!(report.capture.truncated);
        assert_eq!(report.capture.packets, 12);
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let mut file = file(Format::PCAP, Link::Ethernet, &three_requests());
    let second = 24 + 16 + 54;
    // Its captured length.
    file[second + 8..][..4].fill(0xff);
    let (report, error) = damaged(file);
    assert!(
        error.starts_with(&format!("at byte {second}, behind 1 packets: a record claims to be larger")),
        "{error}"
    );
    assert!(!report.capture.truncated);
}

#[test]
fn a_block_that_contradicts_itself_is_damage() {
    let mut file = file(Format::PcapNg(super::files::Order::Little), Link::Ethernet, &three_requests());
    let length = file.len();
    file[length - 4..].fill(0x55);
    let (report, error) = damaged(file);
    assert!(error.ends_with("behind 12 packets: a record contradicts itself"), "{error}");
    assert_eq!(only(&report).requests, 3);
}

#[test]
fn what_is_no_capture_is_told_in_a_sentence() {
    let refused = |file: &[u8]| {
        count(Cursor::new(file.to_vec()), "test", 1_000, Routes::Counted).unwrap_err().to_string()
    };
    assert!(refused(b"").starts_with("it is empty"));
    assert!(refused(b"<html><body>It works!</body></html>").starts_with("it is neither pcap nor pcapng"));
    assert!(refused(&[0x1f, 0x8b, 8, 0, 0, 0]).contains("gzip -dc FILE | traffic-probe replay -"));
    for format in Format::ALL {
        let file = file(format, Link::Ethernet, &[]);
        for length in 1..24 {
            let refusal = refused(&file[..length]);
            let expected = ["it ends within its first header", "it is neither"];
            assert!(
                expected.iter().any(|start| refusal.starts_with(start)),
                "{format:?} {length}: {refusal}"
            );
        }
    }
}

/// A source that gives a little at a time, as a pipe does, and then fails.
struct Pipe {
    bytes: Cursor<Vec<u8>>,
    then: Option<io::ErrorKind>,
}

impl Read for Pipe {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let some = to.len().min(7);
        match (self.bytes.read(&mut to[..some])?, self.then) {
            (0, Some(kind)) => Err(kind.into()),
            (read, _) => Ok(read),
        }
    }
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    for format in Format::ALL {
        let bytes = Cursor::new(file(format, Link::Ethernet, &three_requests()));
        let report = count(Pipe { bytes, then: None }, "test", 1_000, Routes::Counted).unwrap();
        assert_eq!((only(&report).requests, report.capture.error), (3, None));
    }
}

#[test]
fn a_source_that_fails_is_told() {
    let bytes = file(Format::PCAP, Link::Ethernet, &three_requests());
    let pipe = |bytes| Pipe { bytes: Cursor::new(bytes), then: Some(io::ErrorKind::ConnectionReset) };
    let report = count(pipe(bytes), "test", 1_000, Routes::Counted).unwrap();
    let error = report.capture.error.clone().unwrap();
    assert!(error.contains("behind 13 packets: reading failed: connection reset"), "{error}");
    assert_eq!(only(&report).requests, 3);
    let refusal = count(pipe(Vec::new()), "test", 1_000, Routes::Counted).unwrap_err().to_string();
    assert!(refusal.starts_with("reading failed"), "{refusal}");
}
