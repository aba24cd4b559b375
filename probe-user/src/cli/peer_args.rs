//! The flags about peers.

use clap::{Args, builder::BoolishValueParser, value_parser};

use crate::{
    peer_networks::PeerNetwork,
    settings::{PeerLabel, PeerLimits, PeerSettings, PeerSource},
};

/// Flags about peers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct PeerArgs {
    /// Break requests and connections down by peer: the edges of a service graph
    #[arg(long, env = "TRAFFIC_PROBE_PEERS", value_parser = BoolishValueParser::new())]
    peers: bool,
    /// With --peers: capacity of the peers table, over all services
    #[arg(long, value_name = "N", default_value_t = 10_000, env = "TRAFFIC_PROBE_MAX_PEERS")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 20))]
    max_peers: u32,
    /// With --peers: peers per service; further ones count as the peer `other`
    #[arg(long, value_name = "N", default_value_t = 1000, env = "TRAFFIC_PROBE_MAX_PEERS_PER_SERVICE")]
    #[arg(value_parser = value_parser!(u32).range(1..=1 << 20))]
    max_peers_per_service: u32,
    /// Count a network as one named peer: 10.0.0.0/8=office; repeatable [default: none]
    #[arg(long, value_name = "CIDR=NAME", value_delimiter = ',', env = "TRAFFIC_PROBE_PEER_NAMES")]
    peer_names: Vec<PeerNetwork>,
    /// Labels of peers; peers with equal labels are added up, and one without any other keeps its address
    #[arg(long, value_enum, value_name = "LABEL", value_delimiter = ',', env = "TRAFFIC_PROBE_PEER_LABELS")]
    #[arg(default_values_t = PeerLabel::ALL)]
    peer_labels: Vec<PeerLabel>,
    /// Name the pods and services behind addresses, by watching the API server across all namespaces
    /// [default: none]
    #[arg(long, value_enum, value_name = "SOURCE", env = "TRAFFIC_PROBE_PEERS_FROM")]
    peers_from: Option<PeerSource>,
}

impl PeerArgs {
    /// None if peers are not counted.
    pub(super) fn limits(&self) -> Option<PeerLimits> {
        let limits = PeerLimits { total: self.max_peers, per_service: self.max_peers_per_service };
        self.peers.then_some(limits)
    }

    /// What they are called.
    pub(super) fn settings(self) -> PeerSettings {
        PeerSettings {
            networks: self.peer_names.into_iter().collect(),
            labels: self.peer_labels,
            source: self.peers_from.filter(|_| self.peers),
        }
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
    fn nobody_is_asked_for_names_unless_told_to() {
        let settings = |flags: &[&str]| Typed::parse_from(["run"].iter().chain(flags)).peers.settings();
        let usual = settings(&["--peers"]);
        assert_eq!((usual.source, usual.labels.len(), usual.networks.are_none()), (None, 4, true));
        let networks =
            ["--peers", "--peers-from", "endpointslices", "--peer-names", "10.0.0.0/8=a,fd00::/8=b"];
        let asked = settings(&networks);
        assert_eq!(asked.source, Some(PeerSource::EndpointSlices));
        assert_eq!(asked.networks.entries().len(), 2);
        assert_eq!(settings(&["--peers-from", "endpointslices"]).source, None, "nothing is to be named");
        assert_eq!(settings(&["--peer-labels", "service"]).labels, [PeerLabel::Service]);
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
