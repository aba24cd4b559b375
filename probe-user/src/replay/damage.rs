//! What is wrong with a capture file, in sentences.

use std::io;

/// A file that cannot be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("at byte {offset}, behind {packets} packets: {fault}")]
pub(super) struct Damage {
    /// Where the record begins that could not be read.
    pub(super) offset: u64,
    /// Packets before it.
    pub(super) packets: u64,
    /// What is wrong there.
    pub(super) fault: Fault,
}

impl Damage {
    /// Whether the file merely ends too early, as one does that is still being written.
    pub(super) const fn is_cut_off(&self) -> bool {
        matches!(self.fault, Fault::CutOff)
    }
}

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// There is less than it announces.
    #[error("the file ends in the middle of a record")]
    CutOff,
    /// More than any capture program writes.
    #[error("a record claims to be larger than {} MiB, which no capture program writes", super::capture::LARGEST >> 20)]
    TooLarge,
    /// Its parts contradict each other.
    #[error("a record contradicts itself")]
    Malformed,
    /// The system could not read it.
    #[error("reading failed: {0}")]
    Unread(io::Error),
}

/// A file that is no capture.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotACapture {
    /// Nothing is in it.
    #[error("it is empty; use a file written by tcpdump, Wireshark or similar")]
    Empty,
    /// It ends before a capture could begin.
    #[error("it ends within its first header; use a complete file written by tcpdump, Wireshark or similar")]
    CutOff,
    /// It begins as compressed data.
    #[error("it is compressed ({0}); decompress it: `{0} -dc FILE | traffic-probe replay -`")]
    Compressed(&'static str),
    /// It begins with something else.
    #[error("it is neither pcap nor pcapng; use a file written by tcpdump, Wireshark or similar")]
    Unknown,
    /// The system could not read it.
    #[error("reading failed: {0}")]
    Unread(io::Error),
}
