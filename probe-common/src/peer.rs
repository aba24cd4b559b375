//! The peers of a service: who its clients are, and as a client whom it asks. They are the edges of a service graph.

use crate::exchange::{ABORTED, Ending, code_of};

/// Key of a peer: whose, and at which address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    /// The address at the other end of the socket, IPv4 as IPv4-mapped IPv6; zeros where the peer is a network.
    pub address: [u8; 16],
    /// The service's index.
    pub service: u32,
    /// The number of the network whose addresses are one peer; 0 where the peer is an address.
    pub network: u32,
}

/// What was counted of a peer, one a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCell {
    /// Requests that were answered, or that ended without an answer.
    pub requests: u64,
    /// Of these, those with a status of 400 to 499.
    pub blamed_on_client: u64,
    /// Of these, those with a status of 500 and above, or without an answer.
    pub blamed_on_server: u64,
    /// First byte of the request to last byte of its response, in nanoseconds of all of them together.
    pub nanoseconds: u64,
    /// TCP connections that were established.
    pub connections: u64,
}

impl PeerCell {
    /// Adds what another has.
    pub const fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.blamed_on_client += other.blamed_on_client;
        self.blamed_on_server += other.blamed_on_server;
        self.nanoseconds += other.nanoseconds;
        self.connections += other.connections;
    }

    /// What it has more than it had.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            blamed_on_client: self.blamed_on_client.saturating_sub(earlier.blamed_on_client),
            blamed_on_server: self.blamed_on_server.saturating_sub(earlier.blamed_on_server),
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
            connections: self.connections.saturating_sub(earlier.connections),
        }
    }
}

/// What all CPUs have of a peer together.
impl<'a> core::iter::Sum<&'a Self> for PeerCell {
    fn sum<I: Iterator<Item = &'a Self>>(cells: I) -> Self {
        cells.fold(Self::default(), |mut all, cell| {
            all.add(cell);
            all
        })
    }
}

/// Whom a status blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nobody: no failure.
    Nobody,
    /// The client.
    Client,
    /// The server, which may have broken off.
    Server,
}

impl Blame {
    /// After the status of an exchange.
    #[inline(always)]
    #[must_use]
    pub const fn of(status: u16) -> Self {
        if matches!(Ending::of(status), Ending::CutByServer) {
            return Self::Server;
        }
        match code_of(status) {
            ABORTED | 500.. => Self::Server,
            400.. => Self::Client,
            _ => Self::Nobody,
        }
    }
}

/// How many peers can leave at once.
pub const DEPARTURES: u32 = 1024;

/// Peers come as they like.
pub const OPEN: u64 = 0;

/// Some are leaving: no other gets an entry, and what is counted for those that leave goes to the peer `other`.
pub const CLOSED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::{
        Blame::{Client, Nobody, Server},
        *,
    };
    use crate::exchange::CANCELLED;

    #[test]
    fn each_status_has_somebody_to_blame_or_nobody() {
        let blamed = [200, 302, 399, 400, 499, 500, 999, ABORTED].map(Blame::of);
        assert_eq!(blamed, [Nobody, Nobody, Nobody, Client, Client, Server, Server, Server]);
        assert_eq!(Blame::of(CANCELLED), Nobody);
        let cut = |ending: Ending| [200, 404, 503].map(|code| Blame::of(ending.with(code)));
        assert_eq!(cut(Ending::CutByServer), [Server; 3]);
        assert_eq!(cut(Ending::CutByClient), [Nobody, Client, Server]);
    }

    #[test]
    fn what_came_since_is_what_was_not_there() {
        let cell = |requests, nanoseconds| PeerCell { requests, nanoseconds, ..PeerCell::default() };
        let all: PeerCell = [cell(2, 20), cell(3, 30)].iter().sum();
        assert_eq!(all, cell(5, 50));
        assert_eq!(all.since(&cell(2, 20)), cell(3, 30));
        assert_eq!(cell(1, 0).since(&all), PeerCell::default(), "it began anew");
    }
}
