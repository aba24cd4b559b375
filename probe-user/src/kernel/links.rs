//! The network interfaces of the agent's namespace and what becomes of them, as `rtnetlink(7)` tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Mutex, PoisonError},
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use super::rtnetlink::{self, Told};

/// `RTNLGRP_LINK` of `linux/rtnetlink.h`.
const LINKS: u32 = 1;

/// Room for some hundred messages that come while a pass is under way.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Complaints of messages that cannot be read, each told once, and no more of them.
const MOST_TOLD: usize = 64;

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
    /// An end of a virtual cable that has no other end: it is being made, or removed. What is sent into it goes nowhere.
    Torn,
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
                Ok((datagram, _)) => {
                    let told = rtnetlink::read(&datagram)?.messages;
                    all.extend(told.into_iter().filter_map(readable).filter_map(news));
                }
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
    let told = rtnetlink::list(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let news = told.into_iter().filter_map(readable).filter_map(news);
    Ok(news
        .filter_map(|news| if let News::Is(index, link) = news { Some((index, link)) } else { None })
        .collect())
}

/// A message that this agent cannot read is passed over, and complained of once: the kernel says the same at each change.
fn readable(told: Told) -> Option<RouteNetlinkMessage> {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    match told {
        Told::Readable(message) => Some(message),
        Told::Unreadable(why) => {
            let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() < MOST_TOLD && told.insert(why.clone()) {
                tracing::warn!(
                    "cannot read the kernel's description of a network interface, which is not counted ({why}); is \
                     its name UTF-8?"
                );
            }
            None
        }
    }
}

fn news(message: RouteNetlinkMessage) -> Option<News> {
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
    // The kernel says so of one that is being made, until its second end is there, and of one that is being removed.
    let has_two_ends = through.is_some() || is_elsewhere;
    let is_torn = matches!(kind, Some(InfoKind::Veth | InfoKind::Netkit)) && !has_two_ends;
    Some(Link {
        name: name?,
        nature: if is_torn { Nature::Torn } else { nature(layer, kind.as_ref()) },
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
        assert_eq!(news(RouteNetlinkMessage::DelLink(message.clone())), Some(News::Went(7)));
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(news(RouteNetlinkMessage::DelLink(message)), None);
    }

    #[test]
    fn a_cable_leads_out_only_once_it_has_two_ends() {
        let mut message = LinkMessage::default();
        message.header.link_layer_type = LinkLayerType::Ether;
        message.attributes = vec![
            LinkAttribute::IfName("c0".into()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
        ];
        assert_eq!(link(&message).unwrap().nature, Nature::Torn);
        for (end, nature) in [(0, Nature::Torn), (3, Nature::Cable)] {
            message.attributes.push(LinkAttribute::Link(end));
            assert_eq!(link(&message).unwrap().nature, nature, "{end}");
        }
        message.attributes.pop();
        message.attributes.push(LinkAttribute::LinkNetNsId(0));
        assert_eq!(link(&message).unwrap().nature, Nature::Cable, "the other end is in another namespace");
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
}
