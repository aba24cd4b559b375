//! The network interfaces of the agent's namespace and what becomes of them, as `rtnetlink(7)` tells.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

/// `RTNLGRP_LINK` of `linux/rtnetlink.h`.
const LINKS: u32 = 1;

/// Room for some hundred messages that come while a pass is under way.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Bytes before the network header of a device that bears Ethernet frames, as the loopback device does.
const ETHERNET: u64 = 14;

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) nature: Nature,
    /// Bytes before the network header of its frames.
    pub(super) header_length: u64,
    /// The interface of this namespace that its frames go on through: a VLAN's parent, or the other end of a cable.
    pub(super) through: Option<u32>,
    /// The bridge, bond or the like that it is a member of.
    pub(super) master: Option<u32>,
}

/// What an interface is, as far as it matters for where its bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nature {
    /// A device.
    Hardware,
    /// An end of a virtual cable, to another namespace or to a program.
    Cable,
    /// Made of other interfaces: a bridge, a bond, a VLAN.
    Stacked,
    /// Its packets travel within those of another interface.
    Tunnel,
    /// Nothing leaves by it.
    Inward,
}

/// What became of an interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It came, or is not what it was.
    Is(u32, Link),
    /// It went, or moved to another namespace.
    Went(u32),
}

/// What there is to hear.
#[derive(Debug)]
pub(super) enum Heard {
    /// Everything that happened.
    All(Vec<News>),
    /// Something was missed: more happened at once than the socket has room for.
    Overrun,
}

/// Hears of interfaces from the moment on at which it is made.
pub(super) struct Listener(Socket);

impl Listener {
    pub(super) fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Without the right to more, the usual size serves: an overrun is noticed.
        let _ = setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER);
        socket.add_membership(LINKS)?;
        Ok(Self(socket))
    }

    /// What has happened since it was asked last. Does not wait.
    pub(super) fn hear(&self) -> io::Result<Heard> {
        let mut all = Vec::new();
        loop {
            match self.0.recv_from_full() {
                Ok((datagram, _)) => all.extend(messages(&datagram)?.into_iter().filter_map(news)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Heard::All(all)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Heard::Overrun),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The interfaces that are there, by index.
pub(super) fn list() -> io::Result<BTreeMap<u32, Link>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut found = BTreeMap::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for payload in messages(&datagram)? {
            match payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                other => {
                    if let Some(News::Is(index, link)) = news(other) {
                        found.insert(index, link);
                    }
                }
            }
        }
    }
}

/// The messages of a datagram. One that this agent cannot read is complained of and passed over.
fn messages(datagram: &[u8]) -> io::Result<Vec<NetlinkPayload<RouteNetlinkMessage>>> {
    let mut found = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let length = rest.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length) as usize);
        let one = rest.get(..length).filter(|one| !one.is_empty());
        let one = one.ok_or_else(|| io::Error::other("a message from the kernel is cut off"))?;
        match NetlinkMessage::deserialize(one) {
            Ok(message) => found.push(message.payload),
            Err(error) => tracing::warn!("cannot read what the kernel says of an interface: {error}"),
        }
        // Messages lie at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

fn news(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<News> {
    let NetlinkPayload::InnerMessage(message) = payload else { return None };
    // Bridges tell of their ports by the same messages: there a port that leaves is "deleted".
    let is_of_interface = |message: &LinkMessage| message.header.interface_family == AddressFamily::Unspec;
    match message {
        RouteNetlinkMessage::NewLink(message) if is_of_interface(&message) => {
            Some(News::Is(message.header.index, link(&message)?))
        }
        RouteNetlinkMessage::DelLink(message) if is_of_interface(&message) => {
            Some(News::Went(message.header.index))
        }
        _ => None,
    }
}

fn link(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut through, mut master, mut kind) = (None, None, None, None);
    let mut is_elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            // Zero stands for what another namespace hides.
            LinkAttribute::Link(index) => through = Some(*index).filter(|index| *index != 0),
            LinkAttribute::LinkNetNsId(_) => is_elsewhere = true,
            LinkAttribute::Controller(index) => master = Some(*index).filter(|index| *index != 0),
            LinkAttribute::LinkInfo(infos) => kind = infos.iter().find_map(kind_of).or(kind),
            _ => {}
        }
    }
    let layer = message.header.link_layer_type;
    Some(Link {
        name: name?,
        nature: nature(layer, kind.as_ref()),
        header_length: header_length(layer),
        through: through.filter(|_| !is_elsewhere),
        master,
    })
}

fn kind_of(info: &LinkInfo) -> Option<InfoKind> {
    if let LinkInfo::Kind(kind) = info { Some(kind.clone()) } else { None }
}

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK` of `linux/if_arp.h` bear Ethernet frames, tunnels of IP packets bear none.
fn header_length(layer: LinkLayerType) -> u64 {
    match layer {
        LinkLayerType::Ether | LinkLayerType::Loopback => ETHERNET,
        _ => 0,
    }
}

fn nature(layer: LinkLayerType, kind: Option<&InfoKind>) -> Nature {
    match (layer, kind) {
        (LinkLayerType::Loopback, _) | (_, Some(InfoKind::Dummy | InfoKind::Ifb | InfoKind::Nlmon)) => {
            Nature::Inward
        }
        // Of a `tun` that bears frames, as virtual machines have it, a program holds the other end; one that bears
        // packets is most often a VPN.
        (LinkLayerType::Ether, Some(InfoKind::Tun)) | (_, Some(InfoKind::Veth | InfoKind::Netkit)) => {
            Nature::Cable
        }
        (
            LinkLayerType::None
            | LinkLayerType::Tunnel
            | LinkLayerType::Tunnel6
            | LinkLayerType::Sit
            | LinkLayerType::Ipgre
            | LinkLayerType::Ip6gre,
            Some(kind),
        ) if !matches!(kind, InfoKind::IpVlan | InfoKind::Vrf) => Nature::Tunnel,
        (
            _,
            Some(
                InfoKind::Vxlan
                | InfoKind::Geneve
                | InfoKind::GreTap
                | InfoKind::GreTap6
                | InfoKind::ErSpan
                | InfoKind::Ip6ErSpan
                | InfoKind::BareUdp
                | InfoKind::Amt
                | InfoKind::Wireguard,
            ),
        ) => Nature::Tunnel,
        // Ports of a switch and their like have drivers of their own.
        (_, None | Some(InfoKind::Dsa | InfoKind::Netdevsim | InfoKind::Wwan | InfoKind::Ipoib)) => {
            Nature::Hardware
        }
        (_, Some(_)) => Nature::Stacked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_of_this_namespace_is_listed() {
        let links = list().unwrap();
        let lo = links.values().find(|link| link.name == "lo").unwrap();
        assert_eq!((lo.nature, lo.header_length, lo.through), (Nature::Inward, ETHERNET, None));
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_still_there() {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.attributes.push(LinkAttribute::IfName("port".into()));
        let payload = |message| NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message));
        assert_eq!(news(payload(message.clone())), Some(News::Went(7)));
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(news(payload(message)), None);
    }

    #[test]
    fn what_an_interface_rests_on_in_another_namespace_is_not_looked_for_in_this_one() {
        let mut message = LinkMessage::default();
        message.header.link_layer_type = LinkLayerType::Ether;
        message.attributes = vec![LinkAttribute::IfName("eth0".into()), LinkAttribute::Link(3)];
        assert_eq!(link(&message).unwrap().through, Some(3));
        message.attributes.push(LinkAttribute::LinkNetNsId(0));
        assert_eq!(link(&message).unwrap().through, None);
    }

    #[test]
    fn a_datagram_that_is_cut_off_is_no_endless_loop() {
        assert!(messages(&[0; 16]).is_err());
        assert!(messages(&[200, 0, 0, 0, 16, 0, 0, 0]).is_err());
        assert!(messages(&[]).unwrap().is_empty());
    }
}
