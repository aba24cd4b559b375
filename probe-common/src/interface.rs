//! The counters of a network interface.

use crate::counters::Volume;

/// Which way a packet crosses an interface, or a socket.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// In.
    Receive = 0,
    /// Out.
    Transmit = 1,
}

impl Way {
    /// Both ways, indexed by their value.
    pub const ALL: [Self; 2] = [Self::Receive, Self::Transmit];

    /// The value of the label `direction` (as OpenTelemetry's `network.io.direction`).
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Transmit => "transmit",
        }
    }
}

/// The network protocol of a packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4
    Ipv4 = 0,
    /// IPv6
    Ipv6 = 1,
    /// ARP and all else
    Other = 2,
}

impl Family {
    /// Every family, indexed by its value.
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Other];

    /// The value of the label `family`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Other => "other",
        }
    }
}

/// The transport protocol of a packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP
    Tcp = 0,
    /// UDP
    Udp = 1,
    /// ICMP, of both families
    Icmp = 2,
    /// All else
    Other = 3,
}

impl Transport {
    /// Every transport, indexed by its value.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Icmp, Self::Other];

    /// The value of the label `transport`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Other => "other",
        }
    }

    /// The transport of an IP protocol number (IANA, Assigned Internet Protocol Numbers).
    #[inline(always)]
    #[must_use]
    pub const fn of_number(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            1 | 58 => Self::Icmp,
            _ => Self::Other,
        }
    }
}

/// Volumes of one direction by family and transport.
pub type ByKind = [[Volume; Transport::ALL.len()]; Family::ALL.len()];

/// What the kernel keeps of an interface, one entry a CPU. The agent makes it when it attaches and deletes it when
/// the interface goes; the programs count nothing where there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Indexed by [`Way`], [`Family`] and [`Transport`]. Bytes are those of the frame on the wire.
    pub volume: [ByKind; Way::ALL.len()],
    /// Bytes before the network header: 14 on Ethernet, 0 on a tunnel of bare IP packets. Set by the agent.
    pub link_header: u64,
}
