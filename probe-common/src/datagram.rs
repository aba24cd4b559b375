//! UDP sockets: whose one is, and on which end of its conversations.
//!
//! UDP has no connections, so that nothing tells which end began but the first datagram, and, where that was missed, the
//! ports. [`First::role`] has the rule. It is asked once a socket, whose role then stays.

use crate::{connection::Owner, interface::Way, service::Role};

/// What the kernel keeps of a UDP socket. All zero is one that is older than the probe.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct DatagramSocket {
    /// Who made it.
    pub owner: Owner,
    /// The address that was entered as a client last: the next datagram most often comes from the same.
    pub client: [u8; 16],
    /// When that was, in ticks of the kernel's clock.
    pub heard: u64,
    /// Index of its service.
    pub service: u32,
    /// The server's port, as the first datagram told it.
    pub port: u16,
    /// [`Role`], likewise.
    pub role: u8,
    /// What is known of it.
    pub standing: Standing,
    /// [`crate::service::ServiceEntry::generation`] of its service.
    pub generation: u64,
}

/// What is known of a UDP socket.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it is older than the probe.
    #[default]
    Unknown = 0,
    /// The probe saw it made: the first datagram that it sees is the socket's first.
    Made = 1,
    /// It has its service, and keeps its role and port with any later one.
    Introduced = 2,
}

/// How a socket came to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Somebody chose it: it is none of those that the kernel gives out.
    Chosen,
    /// It lies in the range from which the kernel gives ports to those who ask for none
    /// (`net.ipv4.ip_local_port_range`).
    Given,
}

impl Port {
    /// Which of the two, where the kernel gives out the ports from `first` to `last`.
    #[inline(always)]
    #[must_use]
    pub const fn of(port: u16, first: u16, last: u16) -> Self {
        if port >= first && port <= last { Self::Given } else { Self::Chosen }
    }
}

/// The first datagram that is seen of a socket.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// Whether it came or went.
    pub way: Way,
    /// The socket's own port.
    pub local: Port,
    /// The port of the other end.
    pub remote: Port,
    /// Whether there can have been others before the probe started.
    pub history: History,
}

/// What may have come before the first datagram that is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// None: the probe saw the socket made.
    None,
    /// Nobody knows: the socket is older than the probe.
    Unknown,
}

impl First {
    /// The socket's role.
    ///
    /// A socket to which somebody speaks first is a server, and so is one that speaks first from a port that was chosen:
    /// others are to find it there. One that speaks first from a port that it was given is a client. Of an older
    /// socket the first datagram seen may be an answer: if it came from a chosen port to a given one, it is taken for that.
    ///
    /// Hence a client with a port of its own choice (NTP from port 123 to 123) counts as a server, and a server that
    /// answers from a new socket (TFTP) as a client.
    #[inline(always)]
    #[must_use]
    pub const fn role(self) -> Role {
        match (self.way, self.local, self.remote, self.history) {
            (Way::Transmit, Port::Given, _, _)
            | (Way::Receive, Port::Given, Port::Chosen, History::Unknown) => Role::Client,
            _ => Role::Server,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: Port = Port::of(53, 32_768, 60_999);
    const CLIENTS: Port = Port::of(40_000, 32_768, 60_999);

    fn role(way: Way, local: Port, remote: Port, history: History) -> Role {
        First { way, local, remote, history }.role()
    }

    #[test]
    fn ports_are_given_from_the_range_with_both_its_ends() {
        let ports = [32_767, 32_768, 60_999, 61_000].map(|port| Port::of(port, 32_768, 60_999));
        assert_eq!(ports, [Port::Chosen, Port::Given, Port::Given, Port::Chosen]);
    }

    #[test]
    fn who_is_spoken_to_first_is_a_server() {
        for local in [SERVERS, CLIENTS] {
            for remote in [SERVERS, CLIENTS] {
                assert_eq!(role(Way::Receive, local, remote, History::None), Role::Server);
            }
        }
    }

    #[test]
    fn who_speaks_first_is_a_client_unless_its_port_was_chosen() {
        for history in [History::None, History::Unknown] {
            for remote in [SERVERS, CLIENTS] {
                assert_eq!(role(Way::Transmit, CLIENTS, remote, history), Role::Client);
                assert_eq!(role(Way::Transmit, SERVERS, remote, history), Role::Server);
            }
        }
    }

    #[test]
    fn what_an_older_socket_receives_may_be_an_answer() {
        assert_eq!(role(Way::Receive, CLIENTS, SERVERS, History::Unknown), Role::Client);
        assert_eq!(role(Way::Receive, SERVERS, CLIENTS, History::Unknown), Role::Server);
        assert_eq!(role(Way::Receive, SERVERS, SERVERS, History::Unknown), Role::Server);
        assert_eq!(role(Way::Receive, CLIENTS, CLIENTS, History::Unknown), Role::Server);
    }
}
