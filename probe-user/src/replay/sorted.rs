//! The packets of a capture by their times, for one in which time goes back: two files that were put one behind the other,
//! or the queues of a network card that were read in turns.

use std::{fs, path::PathBuf};

use super::{capture::Record, skip::Skip};

/// The largest files that are sorted, in bytes: all of their packets are in memory for that.
const LARGEST: u64 = 64 << 20;

/// The packets of a capture.
#[derive(Default)]
pub(super) struct Sorted {
    packets: Vec<Packet>,
    bytes: Vec<u8>,
    skipped: Vec<Skip>,
}

struct Packet {
    time: u64,
    start: usize,
    captured: usize,
    length: usize,
    link: u16,
}

/// Whether files can be read once more, and are small enough to be sorted.
pub(super) fn can_be_sorted(paths: &[PathBuf]) -> bool {
    let size = |path: &PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|file| file.len());
    let total = paths.iter().map(size).try_fold(0_u64, |total, size| Some(total.saturating_add(size?)));
    total.is_some_and(|total| total <= LARGEST)
}

impl Sorted {
    /// Takes a packet in the order of the file.
    pub(super) fn take(&mut self, record: Result<Record<'_>, Skip>) {
        match record {
            Ok(Record { link, time, bytes, length }) => {
                let (start, captured) = (self.bytes.len(), bytes.len());
                self.bytes.extend_from_slice(bytes);
                self.packets.push(Packet { time, start, captured, length, link });
            }
            Err(skip) => self.skipped.push(skip),
        }
    }

    /// Hands them over in the order of their times; those of one time as they stand in the file.
    pub(super) fn read(mut self, mut to: impl FnMut(Result<Record<'_>, Skip>)) {
        self.packets.sort_by_key(|packet| packet.time);
        for Packet { time, start, captured, length, link } in self.packets {
            to(Ok(Record { link, time, bytes: &self.bytes[start..start + captured], length }));
        }
        for skip in self.skipped {
            to(Err(skip));
        }
    }
}
