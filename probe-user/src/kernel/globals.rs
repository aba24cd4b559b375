//! The constants that the programs are loaded with: the verifier leaves out what they rule out.

use std::hash::{BuildHasher, RandomState};

use aya::EbpfLoader;

use super::{
    features::Features,
    given_ports::given_ports,
    object::{Cgroups, Networks},
    task_layout::TaskLayout,
};
use crate::{feature::Feature, settings::Capacities};

/// What the programs find set when they are loaded.
pub(super) struct Globals {
    by_sock_ops: u8,
    reads_are_told: u8,
    cgroups_of_two_versions: u8,
    given_ports: [u16; 2],
    proxies: u8,
    /// 0: routes are not counted.
    routes_per_service: u8,
    series_per_service: u32,
    /// 0: peers are not counted.
    peers_per_service: u32,
    peer_networks: u8,
    sample_seed: u64,
    /// All 0: it is not known.
    task_layout: TaskLayout,
}

impl Globals {
    pub(super) fn of(features: &Features, capacities: Capacities, networks: Networks<'_>) -> Self {
        let layout = features.has(Feature::KernelTypes).then(TaskLayout::of_this_kernel);
        let task_layout = layout.and_then(Result::ok).unwrap_or_default();
        Self {
            by_sock_ops: u8::from(!features.has(Feature::States)),
            reads_are_told: u8::from(features.has(Feature::Reads)),
            cgroups_of_two_versions: u8::from(features.cgroups == Cgroups::Hybrid),
            given_ports: given_ports(),
            proxies: u8::from(!networks.proxies.are_none()),
            routes_per_service: capacities.routes.map_or(0, |limits| limits.per_service.get()),
            series_per_service: capacities.series_per_service,
            peers_per_service: capacities.peers.map_or(0, |limits| limits.per_service),
            peer_networks: u8::from(!networks.peers.are_none()),
            // What hash tables of the standard library are seeded with is random.
            sample_seed: RandomState::new().hash_one(()),
            task_layout,
        }
    }

    /// Sets them in what loads the object.
    pub(super) fn give<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        loader
            .override_global("STATES_BY_SOCK_OPS", &self.by_sock_ops, true)
            .override_global("READS_ARE_TOLD", &self.reads_are_told, true)
            .override_global("CGROUPS_OF_TWO_VERSIONS", &self.cgroups_of_two_versions, true)
            .override_global("ROUTES_PER_SERVICE", &self.routes_per_service, true)
            .override_global("SERIES_QUOTA", &self.series_per_service, true)
            .override_global("PEERS_PER_SERVICE", &self.peers_per_service, true)
            .override_global("FIRST_GIVEN_PORT", &self.given_ports[0], true)
            .override_global("LAST_GIVEN_PORT", &self.given_ports[1], true)
            .override_global("PROXIES_CONFIGURED", &self.proxies, true)
            .override_global("PEER_NETWORKS_NAMED", &self.peer_networks, true)
            .override_global("SAMPLE_SEED", &self.sample_seed, true)
            .override_global("LEADER_AT", &self.task_layout.leader, true)
            .override_global("COMMAND_AT", &self.task_layout.command, true)
            .override_global("REMOTE_PORT_AT", &self.task_layout.port, true);
    }
}
