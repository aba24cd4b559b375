//! Asking the kernel over `rtnetlink(7)`, and reading what it tells.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// A message of the kernel.
pub(super) enum Told {
    Readable(RouteNetlinkMessage),
    /// Of a form that this agent does not know; the reason is in it.
    Unreadable(String),
}

/// What a datagram tells.
pub(super) struct Read {
    pub(super) messages: Vec<Told>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    ToCome,
    Reached,
}

/// Has the kernel list what a message asks for.
pub(super) fn list(message: RouteNetlinkMessage) -> io::Result<Vec<Told>> {
    ask(message, NLM_F_DUMP)
}

/// Has the kernel do what a message says.
pub(super) fn order(message: RouteNetlinkMessage) -> io::Result<()> {
    ask(message, NLM_F_ACK).map(drop)
}

fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<Told>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, message.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut told = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let read = read(&datagram)?;
        told.extend(read.messages);
        if read.end == End::Reached {
            return Ok(told);
        }
    }
}

/// Reads the messages of a datagram.
pub(super) fn read(datagram: &[u8]) -> io::Result<Read> {
    let mut read = Read { messages: Vec::new(), end: End::ToCome };
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = rest.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length) as usize);
        let one = rest.get(..length).filter(|one| !one.is_empty());
        let one = one.ok_or_else(|| io::Error::other("a message from the kernel is cut off"))?;
        match NetlinkMessage::deserialize(one).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => read.messages.push(Told::Readable(message)),
            Ok(NetlinkPayload::Error(error)) if error.code.is_some() => return Err(error.to_io()),
            // What was asked for is listed, or done.
            Ok(NetlinkPayload::Done(_) | NetlinkPayload::Error(_)) => read.end = End::Reached,
            Ok(_) => {}
            Err(error) => read.messages.push(Told::Unreadable(about(one) + &error.to_string())),
        }
        // Messages lie at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(read)
}

/// Of which interface a message is that cannot be read, if it is of one.
fn about(message: &[u8]) -> String {
    /// `RTM_NEWLINK`, and where its `ifinfomsg` has the index (rtnetlink(7)).
    const NEW_LINK: u16 = 16;
    const INDEX: usize = 20;
    let kind = message.get(4..6).and_then(|kind| kind.first_chunk()).map(|kind| u16::from_ne_bytes(*kind));
    let index = message.get(INDEX..).and_then(|index| index.first_chunk());
    match (kind, index) {
        (Some(NEW_LINK), Some(index)) => format!("interface number {}: ", u32::from_ne_bytes(*index)),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_is_cut_off_is_no_endless_loop() {
        assert!(read(&[0; 16]).is_err());
        assert!(read(&[200, 0, 0, 0, 16, 0, 0, 0]).is_err());
        assert!(read(&[]).unwrap().messages.is_empty());
    }

    #[test]
    fn a_message_of_an_unknown_form_is_told_as_such() {
        // An interface's message with nothing in it.
        let header = [16, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(matches!(read(&header).unwrap().messages[..], [Told::Unreadable(_)]));
    }
}
