//! The kernel's table of connected TCP sockets, by `sock_diag(7)`.

use std::{io, net::IpAddr};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

/// An end of a connection.
pub(super) type End = (IpAddr, u16);

/// A connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connected {
    /// The end here.
    pub(super) local: End,
    /// The other one.
    pub(super) remote: End,
    /// The socket's inode; 0 if no process holds it any more, or not yet.
    pub(super) inode: u64,
}

/// The sockets of a network namespace that are older than the probe.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) connected: Vec<Connected>,
    /// The inodes of those that listen.
    pub(super) listening: Vec<u64>,
}

/// The sockets of this thread's network namespace.
pub(super) fn all() -> io::Result<Sockets> {
    let connected = of_states(connected)?;
    let listening = of_states(|| StateFlags::LISTEN)?;
    Ok(Sockets { connected, listening: listening.into_iter().map(|socket| socket.inode).collect() })
}

fn of_states(states: fn() -> StateFlags) -> io::Result<Vec<Connected>> {
    let mut found = Vec::new();
    for (family, anyone) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        dump(family, anyone, states(), &mut found)?;
    }
    Ok(found)
}

/// Established and not yet gone. What is half open becomes a connection under the probe's eyes, and what waits for late
/// packets is none any more.
fn connected() -> StateFlags {
    StateFlags::ESTABLISHED
        | StateFlags::FIN_WAIT1
        | StateFlags::FIN_WAIT2
        | StateFlags::CLOSE_WAIT
        | StateFlags::LAST_ACK
        | StateFlags::CLOSING
}

fn dump(family: u8, socket_id: SocketId, states: StateFlags, found: &mut Vec<Connected>) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let request =
        InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if read(&datagram, found)? == Read::ToTheEnd {
            return Ok(());
        }
    }
}

#[derive(PartialEq, Eq)]
enum Read {
    InPart,
    ToTheEnd,
}

/// Reads the messages of a datagram.
fn read(datagram: &[u8], found: &mut Vec<Connected>) -> io::Result<Read> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
            .map_err(|error| io::Error::other(error.to_string()))?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                let header = response.header;
                let id = header.socket_id;
                found.push(Connected {
                    local: (id.source_address, id.source_port),
                    remote: (id.destination_address, id.destination_port),
                    inode: header.inode.into(),
                });
            }
            NetlinkPayload::Done(_) => return Ok(Read::ToTheEnd),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        // Messages lie at multiples of four.
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(Read::InPart)
}
