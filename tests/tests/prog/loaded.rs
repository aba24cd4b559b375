//! The kernel side, loaded and attached to nothing.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    sync::Once,
};

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    programs::{Program, TestRun, TestRunOptions},
    util::nr_cpus,
};
use probe_common::{
    counters::Volume,
    interface::{Family, InterfaceCounters, Transport, Way},
};
use probe_tests::sk_buff::Context;
use probe_user::{
    feature::Feature,
    kernel::{Features, Networks, load},
    peer_networks::PeerNetworks,
    settings::{Capacities, PeerLimits, RouteLimits},
};

use crate::allowed;

/// How many services there is room for.
pub(crate) const SERVICES: u32 = 16;

static TELL: Once = Once::new();

/// Says once which kernel this is and how the agent would use it, past the harness, which keeps what a test that passes
/// prints.
fn tell(features: &Features) {
    TELL.call_once(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel tells its release");
        let missing: Vec<_> = features
            .missing()
            .map(|(feature, missing)| format!("{} ({})", feature.name(), missing.why))
            .collect();
        let said = writeln!(
            io::stderr(),
            "prog: under kernel {}, with cgroups {:?}, without {missing:?}",
            release.trim(),
            features.cgroups
        );
        said.expect("standard error is there");
    });
}

/// Interface index of the loopback device in every network namespace: that of a test run's packets.
const LOOPBACK: u32 = 1;

/// The programs and maps of one test.
pub(crate) struct Loaded {
    ebpf: Ebpf,
    interfaces: PerCpuHashMap<MapData, u32, InterfaceCounters>,
    /// What the agent uses of this kernel.
    features: Features,
}

impl Loaded {
    /// Loads everything; the loopback device is counted, its network header at `link_header`.
    pub(crate) fn new(link_header: u64) -> Self {
        Self::with_routes(link_header, None)
    }

    /// The same, perhaps with routes counted.
    pub(crate) fn with_routes(link_header: u64, routes: Option<RouteLimits>) -> Self {
        Self::with_features(link_header, routes, Features::of_this_host())
    }

    /// The same, by what a kernel or a host has.
    pub(crate) fn with_features(link_header: u64, routes: Option<RouteLimits>, features: Features) -> Self {
        let capacities = Capacities {
            services: SERVICES,
            series: 4096,
            series_per_service: 65_536,
            clients: 16,
            routes,
            peers: None,
        };
        Self::with_capacities(link_header, capacities, Networks::NONE, features)
    }

    /// The same, with so many peers counted, those of networks as one.
    pub(crate) fn with_peers(peers: PeerLimits, networks: &PeerNetworks, features: Features) -> Self {
        let capacities = Capacities {
            services: SERVICES,
            series: 4096,
            series_per_service: 65_536,
            clients: 16,
            routes: None,
            peers: Some(peers),
        };
        let networks = Networks { peers: networks, ..Networks::NONE };
        Self::with_capacities(0, capacities, networks, features)
    }

    fn with_capacities(
        link_header: u64,
        capacities: Capacities,
        networks: Networks<'_>,
        mut features: Features,
    ) -> Self {
        let left_out: Vec<Feature> = features.missing().map(|(feature, _)| feature).collect();
        let loaded = load(&mut features, capacities, networks);
        let mut ebpf = loaded.unwrap_or_else(|error| panic!("{error}"));
        tell(&features);
        allowed::demand(&features, &left_out);
        let map = ebpf.take_map("INTERFACES").expect("the object has the map");
        let interfaces = PerCpuHashMap::try_from(map).expect("the map has the type that both sides share");
        let mut loaded = Self { ebpf, interfaces, features };
        loaded.follow_loopback(link_header);
        loaded
    }

    /// Has the loopback device counted, as the agent does when it attaches.
    pub(crate) fn follow_loopback(&mut self, link_header: u64) {
        let entry = InterfaceCounters { link_header, ..InterfaceCounters::default() };
        let entries = PerCpuValues::try_from(vec![entry; nr_cpus().expect("the CPUs can be counted")])
            .expect("an entry for each CPU");
        self.interfaces.insert(LOOPBACK, entries, 0).expect("the map has room");
    }

    /// Has it counted no more, as the agent does when an interface has gone.
    pub(crate) fn forget_loopback(&mut self) {
        self.interfaces.remove(&LOOPBACK).expect("the map has the entry");
    }

    /// Whether the agent would read heads under this kernel.
    pub(crate) fn reads_heads(&self) -> bool {
        self.features.has(Feature::Requests)
    }

    /// The programs that are loaded, by the kernel's id.
    pub(crate) fn program_ids(&self) -> BTreeMap<u32, String> {
        let programs = self.ebpf.programs();
        programs.filter_map(|(name, program)| Some((program.info().ok()?.id(), name.to_owned()))).collect()
    }

    /// A program of the object.
    pub(crate) fn program_mut(&mut self, name: &str) -> &mut Program {
        self.ebpf.program_mut(name).expect("the object has the program")
    }

    /// A map of the object.
    pub(crate) fn map_mut<'a, T: TryFrom<&'a mut Map, Error = MapError>>(&'a mut self, name: &str) -> T {
        let map = self.ebpf.map_mut(name).expect("the object has the map");
        T::try_from(map).expect("the map has the type that both sides share")
    }

    /// The programs that the agent would attach to sockets under this kernel: before 5.17 those that read no heads.
    pub(crate) fn socket_programs(&self) -> [&'static str; 2] {
        self.features.socket_programs().into()
    }

    /// Runs a program over a packet, `times` times, and returns its verdict.
    pub(crate) fn run(&mut self, program: &str, packet: &[u8], context: &Context, times: u32) -> u32 {
        let bytes = context.bytes();
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        options.repeat = times;
        let result = match self.program_mut(program) {
            Program::SchedClassifier(classifier) => {
                options.ctx_in = Some(&bytes);
                classifier.test_run(options)
            }
            Program::CgroupSkb(socket) => socket.test_run(options),
            Program::Xdp(driver) => {
                // Loaded on request only.
                let _ = driver.load();
                driver.test_run(options)
            }
            _ => panic!("{program} cannot be run by itself"),
        };
        result.unwrap_or_else(|error| panic!("{program} does not run: {error}")).return_value
    }

    /// Runs a program of TC over a packet once, and says how long that took.
    pub(crate) fn time(&mut self, program: &str, packet: &[u8]) -> std::time::Duration {
        let Program::SchedClassifier(classifier) = self.program_mut(program) else {
            panic!("{program} is no program of TC");
        };
        let mut options = TestRunOptions::new();
        options.data_in = Some(packet);
        let result = classifier.test_run(options);
        result.unwrap_or_else(|error| panic!("{program} does not run: {error}")).duration
    }

    /// What was counted on the interface that is not zero.
    pub(crate) fn counted(&self) -> Vec<(Way, Family, Transport, Volume)> {
        let entries = self.interfaces.get(&LOOPBACK, 0).expect("the map has the entry");
        let mut counted = Vec::new();
        for way in Way::ALL {
            for family in Family::ALL {
                for transport in Transport::ALL {
                    let mut sum = Volume::default();
                    for entry in entries.iter() {
                        let volume = entry.volume[way as usize][family as usize][transport as usize];
                        sum.bytes += volume.bytes;
                        sum.packets += volume.packets;
                    }
                    if sum != Volume::default() {
                        counted.push((way, family, transport, sum));
                    }
                }
            }
        }
        counted
    }

    /// How many entries the table of services has, and what escaped measurement.
    pub(crate) fn sockets_counted(&mut self) -> (usize, u64) {
        let services = aya::maps::HashMap::<
            _,
            probe_common::service::ServiceKey,
            probe_common::service::ServiceEntry,
        >::try_from(self.ebpf.map("SERVICES").expect("the object has the map"))
        .expect("the map has the type that both sides share");
        let unmeasured =
            PerCpuArray::<_, u64>::try_from(self.ebpf.map("UNMEASURED").expect("the object has the map"))
                .expect("the map has the type that both sides share");
        let escaped =
            unmeasured.iter().map(|counts| counts.expect("it can be read").iter().sum::<u64>()).sum();
        (services.keys().count(), escaped)
    }
}
