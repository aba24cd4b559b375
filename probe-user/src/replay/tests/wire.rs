//! Conversations as packets.

use std::net::{IpAddr, SocketAddr};

use etherparse::{PacketBuilder, TcpOptionElement};

pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A millisecond in nanoseconds.
pub(super) const MS: u64 = 1_000_000;

/// Time of the first packet: 2023-11-14T22:13:20Z.
pub(super) const START: u64 = 1_700_000_000_000_000_000;

/// An IP packet at a time.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) time: u64,
    pub(super) ip: Vec<u8>,
    /// How much of it is captured; all of it if it is shorter.
    pub(super) snap: usize,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}
use Sender::{Client, Server};

/// What a header says beyond ports and numbers.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "flags they are")]
pub(super) struct Flags {
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) ack: bool,
}

/// A connection whose packets are written down.
pub(super) struct Wire {
    client: SocketAddr,
    server: SocketAddr,
    /// Next sequence numbers.
    pub(super) next: [u32; 2],
    pub(super) time: u64,
    /// By how much windows are scaled, as both SYNs say.
    pub(super) scale: Option<u8>,
    pub(super) packets: Vec<Packet>,
}

impl Wire {
    pub(super) fn between(client: &str, server: &str) -> Self {
        let [client, server] = [client, server].map(|text| text.parse().unwrap());
        // Both wrap within a few bytes.
        let next = [u32::MAX - 10, u32::MAX - 30];
        Self { client, server, next, time: START, scale: None, packets: Vec::new() }
    }

    pub(super) fn new() -> Self {
        Self::between("10.0.0.2:40000", "10.0.0.1:80")
    }

    /// With the handshake done.
    pub(super) fn open() -> Self {
        let mut wire = Self::new();
        wire.shake();
        wire
    }

    pub(super) fn shake(&mut self) -> &mut Self {
        self.syn().syn_ack().ack(Client)
    }

    pub(super) fn syn(&mut self) -> &mut Self {
        self.send(Client, Flags { syn: true, ..Flags::default() }, b"")
    }

    pub(super) fn syn_ack(&mut self) -> &mut Self {
        self.send(Server, Flags { syn: true, ack: true, ..Flags::default() }, b"")
    }

    pub(super) fn ack(&mut self, from: Sender) -> &mut Self {
        self.send(from, Flags { ack: true, ..Flags::default() }, b"")
    }

    pub(super) fn say(&mut self, from: Sender, bytes: &[u8]) -> &mut Self {
        self.send(from, Flags { ack: true, ..Flags::default() }, bytes)
    }

    pub(super) fn ask(&mut self, text: &str) -> &mut Self {
        self.say(Client, text.as_bytes())
    }

    pub(super) fn answer(&mut self, text: &str) -> &mut Self {
        self.say(Server, text.as_bytes())
    }

    pub(super) fn fin(&mut self, from: Sender) -> &mut Self {
        self.send(from, Flags { fin: true, ack: true, ..Flags::default() }, b"")
    }

    pub(super) fn rst(&mut self, from: Sender) -> &mut Self {
        self.send(from, Flags { rst: true, ack: true, ..Flags::default() }, b"")
    }

    /// Both say farewell, the client first.
    pub(super) fn close(&mut self) -> &mut Self {
        self.fin(Client).fin(Server).ack(Client)
    }

    pub(super) fn wait(&mut self, nanoseconds: u64) -> &mut Self {
        self.time += nanoseconds;
        self
    }

    pub(super) fn send(&mut self, from: Sender, flags: Flags, bytes: &[u8]) -> &mut Self {
        let (me, peer) = (from as usize, 1 - from as usize);
        let ip = self.packet(from, self.next[me], self.next[peer], flags, bytes);
        self.next[me] =
            self.next[me].wrapping_add(bytes.len() as u32 + u32::from(flags.syn) + u32::from(flags.fin));
        self.packets.push(Packet { time: self.time, ip, snap: usize::MAX });
        self
    }

    /// A packet that does not move the conversation on.
    pub(super) fn packet(
        &self,
        from: Sender,
        sequence: u32,
        next: u32,
        flags: Flags,
        bytes: &[u8],
    ) -> Vec<u8> {
        let (source, destination) = match from {
            Client => (self.client, self.server),
            Server => (self.server, self.client),
        };
        let ip = match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                PacketBuilder::ipv6(source.octets(), destination.octets(), 64)
            }
            mixed => panic!("{mixed:?}"),
        };
        let mut tcp = ip.tcp(source.port(), destination.port(), sequence, 65_535);
        if flags.ack {
            tcp = tcp.ack(next);
        }
        if flags.syn {
            tcp = tcp.syn();
            if let Some(scale) = self.scale {
                tcp = tcp.options(&[TcpOptionElement::WindowScale(scale)]).unwrap();
            }
        }
        if flags.fin {
            tcp = tcp.fin();
        }
        if flags.rst {
            tcp = tcp.rst();
        }
        let mut packet = Vec::new();
        tcp.write(&mut packet, bytes).unwrap();
        packet
    }
}

/// The header of LLC and SNAP, up to the type.
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];

/// A link layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    Vlan,
    QinQ,
    Sll,
    Sll2,
    Raw,
    Ipv4,
    Ipv6,
    NullLittle,
    NullBig,
    Loop,
    /// IEEE 802.3 with SNAP, within a VLAN.
    Snap,
    /// Linux cooked, of such a frame.
    SllSnap,
    /// Two labels over IP.
    Mpls,
    /// Ethernet over MPLS, with a control word and without.
    Pseudowire,
    BarePseudowire,
    PppOverEthernet,
    Ppp,
    PppHdlc,
    /// One that is not read: IEEE 802.11.
    Wireless,
}

impl Link {
    /// Those that are read, and carry IP of either version.
    pub(super) const OF_BOTH: [Self; 17] = [
        Self::Ethernet,
        Self::Vlan,
        Self::QinQ,
        Self::Sll,
        Self::Sll2,
        Self::Raw,
        Self::NullLittle,
        Self::NullBig,
        Self::Loop,
        Self::Snap,
        Self::SllSnap,
        Self::Mpls,
        Self::Pseudowire,
        Self::BarePseudowire,
        Self::PppOverEthernet,
        Self::Ppp,
        Self::PppHdlc,
    ];

    /// Its number at tcpdump.org.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Ethernet
            | Self::Vlan
            | Self::QinQ
            | Self::Snap
            | Self::Mpls
            | Self::Pseudowire
            | Self::BarePseudowire
            | Self::PppOverEthernet => 1,
            Self::Ppp => 9,
            Self::PppHdlc => 50,
            Self::Sll | Self::SllSnap => 113,
            Self::Sll2 => 276,
            Self::Raw => 101,
            Self::Ipv4 => 228,
            Self::Ipv6 => 229,
            Self::NullLittle | Self::NullBig => 0,
            Self::Loop => 108,
            Self::Wireless => 105,
        }
    }

    /// A frame with an IP packet in it.
    pub(super) fn frame(self, ip: &[u8]) -> Vec<u8> {
        let version6 = ip[0] >> 4 == 6;
        let ether_type: [u8; 2] = if version6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let ppp = if version6 { [0, 0x57] } else { [0, 0x21] };
        let family: u32 = if version6 { 10 } else { 2 };
        let mut frame = match self {
            Self::Ethernet => [&[0; 12][..], &ether_type].concat(),
            Self::Vlan => [&[0; 12][..], &[0x81, 0, 0, 7], &ether_type].concat(),
            Self::QinQ => [&[0; 12][..], &[0x88, 0xa8, 0, 7, 0x81, 0, 0, 8], &ether_type].concat(),
            Self::Sll => [&[0, 0, 3, 4][..], &[0; 10], &ether_type].concat(),
            Self::Sll2 => [&ether_type[..], &[0; 18]].concat(),
            Self::Snap => {
                let length = ((8 + ip.len()) as u16).to_be_bytes();
                [&[0; 12][..], &[0x81, 0, 0, 7], &length, &SNAP, &ether_type].concat()
            }
            Self::SllSnap => [&[0, 0, 0, 1][..], &[0; 10], &[0, 4], &SNAP, &ether_type].concat(),
            Self::Mpls => [&[0; 12][..], &[0x88, 0x47], &[0, 1, 0x60, 64, 0, 1, 0x71, 64]].concat(),
            Self::Pseudowire => {
                [&[0; 12][..], &[0x88, 0x47], &[0, 1, 0x61, 64], &[0; 4], &[0; 12], &ether_type].concat()
            }
            Self::BarePseudowire => {
                [&[0; 12][..], &[0x88, 0x48], &[0, 1, 0x61, 64], &[0xde; 12], &ether_type].concat()
            }
            Self::PppOverEthernet => {
                let length = ((2 + ip.len()) as u16).to_be_bytes();
                [&[0; 12][..], &[0x88, 0x64], &[0x11, 0, 0, 1], &length, &ppp].concat()
            }
            Self::Ppp => vec![ppp[1]],
            Self::PppHdlc => [&[0xff, 3][..], &ppp].concat(),
            Self::Raw | Self::Ipv4 | Self::Ipv6 | Self::Wireless => Vec::new(),
            Self::NullLittle => family.to_le_bytes().to_vec(),
            Self::NullBig | Self::Loop => family.to_be_bytes().to_vec(),
        };
        frame.extend_from_slice(ip);
        frame
    }
}
