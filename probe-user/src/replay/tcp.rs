//! TCP segments as they were captured.

use std::net::SocketAddr;

use etherparse::{IpNumber, TcpHeaderSlice, TcpOptionElement};

use super::{network::Datagram, skip::Skip};

/// The shortest header.
const SHORTEST: usize = 20;
/// The longest, with options.
const LONGEST: usize = 60;

/// A segment, or several that the capturing machine had joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// As in the header: of the SYN, if it has one, else of the first byte of payload.
    pub(super) sequence: u32,
    /// What the sender has received, where it says so.
    pub(super) acknowledged: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    /// How much the sender allows the other end to send beyond that, before scaling.
    pub(super) window: u16,
    /// By which power of two the sender's windows are scaled, as its SYN says.
    pub(super) scale: Option<u8>,
    /// What was captured of the payload.
    pub(super) payload: &'a [u8],
    /// Bytes of payload.
    pub(super) length: u32,
}

impl<'a> Segment<'a> {
    /// Finds the segment in a datagram.
    pub(super) fn of(datagram: &'a Datagram<'_>) -> Result<Self, Skip> {
        match datagram.protocol {
            IpNumber::TCP => {}
            IpNumber::UDP => return Err(Skip::Udp),
            _ => return Err(Skip::NotTcp),
        }
        let bytes = &datagram.payload[..];
        if bytes.len() < SHORTEST {
            return Err(if bytes.len() < datagram.length { Skip::CutHeader } else { Skip::BadHeader });
        }
        // Where options were cut away, nothing that is needed here was.
        let mut head = [0; LONGEST];
        let there = bytes.len().min(LONGEST);
        head[..there].copy_from_slice(&bytes[..there]);
        let header = TcpHeaderSlice::from_slice(&head).map_err(|_| Skip::BadHeader)?;
        let size = header.slice().len();
        let mut length = datagram.length.checked_sub(size).ok_or(Skip::BadHeader)?;
        let mut payload = bytes.get(size..).unwrap_or_default();
        if header.rst() {
            // What a reset carries is a remark, and no part of the stream (RFC 9293, section 3.5.3).
            (length, payload) = (0, &[]);
        }
        Ok(Self {
            from: SocketAddr::new(datagram.source, header.source_port()),
            to: SocketAddr::new(datagram.destination, header.destination_port()),
            sequence: header.sequence_number(),
            acknowledged: header.ack().then_some(header.acknowledgment_number()),
            syn: header.syn(),
            fin: header.fin(),
            rst: header.rst(),
            window: header.window_size(),
            scale: if header.syn() { scale(&header) } else { None },
            payload,
            length: u32::try_from(length).map_err(|_| Skip::BadHeader)?,
        })
    }

    /// Sequence number of the first byte of payload: a SYN takes one of its own.
    pub(super) fn first(&self) -> u32 {
        self.sequence.wrapping_add(u32::from(self.syn))
    }

    /// Sequence number behind all of it: a FIN takes one, too.
    pub(super) fn end(&self) -> u32 {
        self.first().wrapping_add(self.length).wrapping_add(u32::from(self.fin))
    }
}

/// The scale of windows that a SYN announces (RFC 7323).
fn scale(header: &TcpHeaderSlice<'_>) -> Option<u8> {
    header.options_iterator().flatten().find_map(|option| match option {
        TcpOptionElement::WindowScale(scale) => Some(scale),
        _ => None,
    })
}
