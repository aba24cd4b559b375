//! Capture files as a test writes them: records that tcpdump has captured, and others between them.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Bytes of a pcap file before its first record, and of a record before its packet.
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// Of pcap with nanoseconds, in the order of bytes of this machine.
const MAGIC: u32 = 0xa1b2_3c4d;

const ETHERNET: u16 = 1;
const LARGEST: u32 = 262_144;

/// A packet as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// In nanoseconds since 1970.
    pub time: u64,
    /// What was captured of the frame.
    pub bytes: Vec<u8>,
    /// How long it is said to have been.
    pub length: u32,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What tcpdump writes.
    Pcap,
    /// What Wireshark writes.
    PcapNg,
}

impl Format {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Pcap, Self::PcapNg];
}

/// Reads what tcpdump has written with nanoseconds, from an Ethernet or the loopback device.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let file = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(number(&file, 0)? == MAGIC && number(&file, 20)? == u32::from(ETHERNET), "not such a capture");
    let mut records = Vec::new();
    let mut at = FILE_HEADER;
    while at < file.len() {
        let start = at + RECORD_HEADER;
        let end = start + usize::try_from(number(&file, at + 8)?)?;
        let time = u64::from(number(&file, at)?) * 1_000_000_000 + u64::from(number(&file, at + 4)?);
        let bytes = file.get(start..end).context("a record is cut off")?.to_vec();
        records.push(Record { time, bytes, length: number(&file, at + 12)? });
        at = end;
    }
    Ok(records)
}

fn number(file: &[u8], at: usize) -> Result<u32> {
    let bytes = file.get(at..).and_then(<[u8]>::first_chunk).context("a capture is cut off")?;
    Ok(u32::from_ne_bytes(*bytes))
}

/// The bytes of a file of these records.
pub fn write(format: Format, records: &[Record]) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    match format {
        Format::Pcap => {
            file.extend(words(&[MAGIC]));
            file.extend([2_u16.to_ne_bytes(), 4_u16.to_ne_bytes()].concat());
            file.extend(words(&[0, 0, LARGEST, ETHERNET.into()]));
        }
        Format::PcapNg => {
            let version = [1_u16.to_ne_bytes(), 0_u16.to_ne_bytes()].concat();
            file.extend(block(0x0a0d_0d0a, &[words(&[0x1a2b_3c4d]), version, vec![0xff; 8]].concat())?);
            let link = [ETHERNET.to_ne_bytes(), 0_u16.to_ne_bytes()].concat();
            // `if_tsresol`: 10^-9 s.
            let resolution =
                [9_u16.to_ne_bytes(), 1_u16.to_ne_bytes(), [9, 0], [0, 0], [0, 0], [0, 0]].concat();
            file.extend(block(1, &[link, words(&[0]), resolution].concat())?);
        }
    }
    for record in records {
        file.extend(record.encoded(format)?);
    }
    Ok(file)
}

impl Record {
    /// Its bytes in a file.
    pub fn encoded(&self, format: Format) -> Result<Vec<u8>> {
        let captured = u32::try_from(self.bytes.len())?;
        match format {
            Format::Pcap => {
                let (seconds, rest) = (self.time / 1_000_000_000, self.time % 1_000_000_000);
                let head = [u32::try_from(seconds)?, u32::try_from(rest)?, captured, self.length];
                Ok([words(&head), self.bytes.clone()].concat())
            }
            Format::PcapNg => {
                let (high, low) = (u32::try_from(self.time >> 32)?, u32::try_from(self.time & 0xffff_ffff)?);
                block(6, &[words(&[0, high, low, captured, self.length]), self.bytes.clone()].concat())
            }
        }
    }
}

/// A block of pcapng: padded to four bytes, its length before and behind.
fn block(kind: u32, body: &[u8]) -> Result<Vec<u8>> {
    let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
    let length = u32::try_from(body.len() + padding.len() + 12)?;
    Ok([words(&[kind, length]), body.to_vec(), padding, words(&[length])].concat())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
