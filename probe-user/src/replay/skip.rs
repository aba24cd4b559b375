//! Why a packet of a capture is not part of any connection that is counted.

use std::collections::BTreeMap;

/// A reason to pass over a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Skip {
    /// It came after its connection had ended: sent again, or crossing the end.
    AfterEnd,
    /// A header contradicts itself.
    BadHeader,
    /// It does not pass the filter.
    Filtered,
    /// The fragment of a packet that was not captured whole: there is nothing to put together.
    CutFragment,
    /// The fragment of a packet whose other fragments are missing, or one that contradicts them.
    LostFragment,
    /// A header was cut away when it was captured.
    CutHeader,
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP, but neither TCP nor UDP, and no tunnel.
    NotTcp,
    /// A pcapng block of a kind that no program has written for many years (Packet Block).
    ObsoleteBlock,
    /// A tunnel that is not read, or one in too many others.
    Tunnel,
    /// UDP, and no tunnel.
    Udp,
    /// Its interface is not described in the file.
    UnknownInterface,
    /// Its interface has a link layer that is not read here.
    UnknownLink,
}

impl Skip {
    /// As the report has it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::AfterEnd => "after_end",
            Self::BadHeader => "bad_header",
            Self::Filtered => "filtered",
            Self::CutFragment => "cut_fragment",
            Self::LostFragment => "lost_fragment",
            Self::CutHeader => "cut_header",
            Self::NotIp => "not_ip",
            Self::NotTcp => "not_tcp",
            Self::ObsoleteBlock => "obsolete_block",
            Self::Tunnel => "tunnel",
            Self::Udp => "udp",
            Self::UnknownInterface => "unknown_interface",
            Self::UnknownLink => "unknown_link",
        }
    }
}

/// How many packets were passed over, by reason.
pub(super) type Skipped = BTreeMap<Skip, u64>;
