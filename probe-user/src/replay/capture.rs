//! Capture files, pcap and pcapng, as a stream of packets: no more than a record is in memory at a time.

use std::io::{self, Read};

use pcap_parser::{
    Block, InterfaceDescriptionBlock, LegacyPcapReader, Linktype, OptionCode, PcapBlockOwned, PcapError,
    PcapHeader, PcapNGReader,
    traits::{PcapNGPacketBlock, PcapReaderIterator},
};

use super::{
    clock::{self, Clock},
    damage::{Damage, Fault, NotACapture},
    skip::Skip,
    source::{Failure, Full},
};

/// The largest record that is accepted, as in Wireshark.
pub(super) const LARGEST: usize = 16 << 20;

/// Bytes that are read at a time. Grows where a record is larger.
const BUFFER: usize = 256 << 10;

/// Interfaces of a section that are remembered.
const INTERFACES: usize = 1 << 16;

/// Type of the Packet Block, which pcapng had before the Enhanced Packet Block.
const PACKET_BLOCK: u32 = 2;

/// A packet as it was captured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// Link layer, by its number in the registry of tcpdump.org.
    pub(super) link: u16,
    /// When, in nanoseconds since 1970.
    pub(super) time: u64,
    /// What was captured of it.
    pub(super) bytes: &'a [u8],
    /// How long it was on the wire.
    pub(super) length: usize,
}

/// An open capture file.
pub(super) struct Capture {
    reader: Box<dyn PcapReaderIterator>,
    failure: Failure,
    section: Section,
    packets: u64,
}

/// What is known of the part of the file that is being read.
#[derive(Default)]
struct Section {
    kind: Kind,
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Time of the latest packet, for those that come without.
    latest: u64,
}

#[derive(Clone, Copy, Default)]
enum Kind {
    /// With so many fractions to a second.
    Pcap { per_second: u32 },
    #[default]
    PcapNg,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    snap: u32,
    clock: Clock,
}

impl Capture {
    /// Begins to read a capture.
    pub(super) fn open(source: impl Read + 'static) -> Result<Self, NotACapture> {
        let (mut source, failure) = Full::new(source);
        let mut start = [0; 4];
        let length = source.read(&mut start).map_err(|error| unread(&failure, error))?;
        let source = io::Cursor::new(start).take(length as u64).chain(source);
        // Once more, since a chain gives its first part by itself.
        let (source, _) = Full::new(source);
        let reader: Result<Box<dyn PcapReaderIterator>, _> = match start {
            [0x0a, 0x0d, 0x0d, 0x0a] => PcapNGReader::new(BUFFER, source).map(|reader| Box::new(reader) as _),
            _ => LegacyPcapReader::new(BUFFER, source).map(|reader| Box::new(reader) as _),
        };
        let reader = reader.map_err(|error| match error {
            _ if length == 0 => NotACapture::Empty,
            PcapError::Incomplete(_) => NotACapture::CutOff,
            PcapError::ReadError => unread(&failure, io::ErrorKind::Other.into()),
            _ => compression(start).map_or(NotACapture::Unknown, NotACapture::Compressed),
        })?;
        Ok(Self { reader, failure, section: Section::default(), packets: 0 })
    }

    /// Packets that were read.
    pub(super) const fn packets(&self) -> u64 {
        self.packets
    }

    /// Hands over the next packet, or the reason why there is none to hand over; false if there are no more.
    pub(super) fn advance(&mut self, mut to: impl FnMut(Result<Record<'_>, Skip>)) -> Result<bool, Damage> {
        loop {
            let trouble = match self.reader.next() {
                Ok((size, block)) => {
                    let record = self.section.record(&block);
                    let found = record.is_some();
                    if let Some(record) = record {
                        self.packets += 1;
                        to(record);
                    }
                    self.reader.consume(size);
                    if found {
                        return Ok(true);
                    }
                    continue;
                }
                Err(PcapError::Eof) => return Ok(false),
                Err(PcapError::Incomplete(_)) => Trouble::Refill,
                Err(PcapError::BufferTooSmall) => Trouble::Grow,
                Err(PcapError::UnexpectedEof) => Trouble::End,
                Err(_) => Trouble::Fault(Fault::Malformed),
            };
            self.mend(trouble).map_err(|fault| self.damage(fault))?;
        }
    }

    fn mend(&mut self, trouble: Trouble) -> Result<(), Fault> {
        let before = self.reader.data().len();
        match trouble {
            Trouble::Fault(fault) => return Err(fault),
            Trouble::Grow | Trouble::End if self.section.announced(self.reader.data()) > LARGEST => {
                return Err(Fault::TooLarge);
            }
            Trouble::End => return Err(Fault::CutOff),
            Trouble::Refill => {}
            Trouble::Grow => {
                if before >= LARGEST || !self.reader.grow((2 * before).max(2 * BUFFER)) {
                    return Err(Fault::TooLarge);
                }
            }
        }
        if self.reader.refill().is_err() {
            let error = self.failure.borrow_mut().take();
            return Err(Fault::Unread(error.unwrap_or_else(|| io::ErrorKind::Other.into())));
        }
        // Nothing more, and not the end: asking again would give the same.
        let stuck = self.reader.data().len() == before && !self.reader.reader_exhausted();
        if stuck { Err(Fault::Malformed) } else { Ok(()) }
    }

    fn damage(&self, fault: Fault) -> Damage {
        Damage { offset: self.reader.consumed() as u64, packets: self.packets, fault }
    }
}

/// What keeps a record from being read.
enum Trouble {
    Refill,
    Grow,
    End,
    Fault(Fault),
}

impl Section {
    /// How large the record at the start of some bytes says that it is; 0 if that is not among them.
    fn announced(&self, record: &[u8]) -> usize {
        let number = |at: usize| -> usize {
            let bytes = record.get(at..).and_then(<[u8]>::first_chunk::<4>).copied().unwrap_or_default();
            let number = if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
            number as usize
        };
        match self.kind {
            Kind::Pcap { .. } => number(8),
            // A section header comes in an order of its own, and nobody makes one that is too large.
            Kind::PcapNg => number(4),
        }
    }

    fn record<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Option<Result<Record<'a>, Skip>> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.begin_pcap(header);
                None
            }
            PcapBlockOwned::Legacy(packet) => {
                let Kind::Pcap { per_second } = self.kind else { return None };
                let time = clock::of_pcap(packet.ts_sec, packet.ts_usec, per_second);
                Some(self.packet(0, Some(time), packet.data, packet.origlen))
            }
            PcapBlockOwned::NG(Block::SectionHeader(header)) => {
                self.big_endian = header.big_endian();
                self.interfaces.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
                self.describe(description);
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let interface = packet.if_id as usize;
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let time = self.interfaces.get(interface).map(|known| known.clock.nanoseconds(ticks));
                Some(self.packet(interface, time, packet.packet_data(), packet.origlen))
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let snap = self.interfaces.first().map_or(0, |interface| interface.snap);
                let bytes = packet.packet_data();
                let captured = if snap == 0 { bytes.len() } else { bytes.len().min(snap as usize) };
                Some(self.packet(0, None, &bytes[..captured], packet.origlen))
            }
            PcapBlockOwned::NG(Block::Unknown(unknown)) if unknown.block_type == PACKET_BLOCK => {
                Some(Err(Skip::ObsoleteBlock))
            }
            PcapBlockOwned::NG(_) => None,
        }
    }

    fn begin_pcap(&mut self, header: &PcapHeader) {
        let per_second = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
        self.kind = Kind::Pcap { per_second };
        self.big_endian = header.is_bigendian();
        let link = link(header.network);
        self.interfaces = vec![Interface { link, snap: header.snaplen, clock: Clock::new(6, 0) }];
    }

    fn describe(&mut self, description: &InterfaceDescriptionBlock<'_>) {
        if self.interfaces.len() >= INTERFACES {
            return;
        }
        // Not the parser's own reading of it, which takes every section for little-endian.
        let offset =
            description
                .options
                .iter()
                .find(|option| option.code == OptionCode::IfTsoffset)
                .and_then(|option| option.value.first_chunk::<8>())
                .map_or(0, |bytes| {
                    if self.big_endian { i64::from_be_bytes(*bytes) } else { i64::from_le_bytes(*bytes) }
                });
        self.interfaces.push(Interface {
            link: link(description.linktype),
            snap: description.snaplen,
            clock: Clock::new(description.if_tsresol, offset),
        });
    }

    fn packet<'a>(
        &mut self,
        interface: usize,
        time: Option<u64>,
        bytes: &'a [u8],
        length: u32,
    ) -> Result<Record<'a>, Skip> {
        let interface = self.interfaces.get(interface).ok_or(Skip::UnknownInterface)?;
        let time = time.unwrap_or(self.latest);
        self.latest = time;
        let length = (length as usize).max(bytes.len());
        Ok(Record { link: interface.link, time, bytes, length })
    }
}

/// The number of a link layer. The upper half of the field says whether frames end in a checksum, which IP's own length
/// leaves out.
fn link(field: Linktype) -> u16 {
    let [low, high, ..] = field.0.to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn unread(failure: &Failure, otherwise: io::Error) -> NotACapture {
    NotACapture::Unread(failure.borrow_mut().take().unwrap_or(otherwise))
}

/// The program that unpacks what begins like this.
fn compression(start: [u8; 4]) -> Option<&'static str> {
    match start {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        [b'B', b'Z', b'h', _] => Some("bzip2"),
        _ => None,
    }
}
