//! The flags about peers.

use clap::{Args, builder::BoolishValueParser, value_parser};

use crate::settings::PeerLimits;

/// Flags about peers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct PeerArgs {
    /// Count the requests and connections of each service by whom they are with, too: the edges of a service graph
    #[arg(long, env = "TRAFFIC_PROBE_PEERS", value_parser = BoolishValueParser::new())]
    peers: bool,
    /// How many peers the kernel's table has room for, over all services, with --peers
    #[arg(long, value_name = "N", default_value_t = 10_000, env = "TRAFFIC_PROBE_MAX_PEERS")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 20))]
    max_peers: u32,
    /// How many peers a service may have, with --peers; all others of it are counted as the peer `other`
    #[arg(long, value_name = "N", default_value_t = 1000, env = "TRAFFIC_PROBE_MAX_PEERS_PER_SERVICE")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 20))]
    max_peers_per_service: u32,
}

impl PeerArgs {
    /// None if peers are not counted.
    pub(super) fn limits(&self) -> Option<PeerLimits> {
        let limits = PeerLimits { total: self.max_peers, per_service: self.max_peers_per_service };
        self.peers.then_some(limits)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        peers: PeerArgs,
    }

    #[test]
    fn peers_are_counted_on_request_and_bounded() {
        let limits = |flags: &[&str]| {
            let typed = Typed::parse_from(["run"].iter().chain(flags));
            typed.peers.limits().map(|limits| (limits.total, limits.per_service))
        };
        assert_eq!(limits(&["--max-peers", "7"]), None);
        assert_eq!(limits(&["--peers"]), Some((10_000, 1000)));
        assert_eq!(limits(&["--peers", "--max-peers", "7", "--max-peers-per-service", "3"]), Some((7, 3)));
    }
}
