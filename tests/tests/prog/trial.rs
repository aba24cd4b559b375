//! The connection engine in the kernel, over packets made by hand: see `hooks/trial.rs` of the kernel side.

use std::collections::BTreeMap;

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapError, PerCpuArray, PerCpuHashMap},
    programs::{Program, SchedClassifier},
};
use probe_common::{
    connection::{Connection, Side},
    counters::ServiceCounters,
    exchange::{LatencyCell, LatencyKey, Span},
    peer::{PeerCell, PeerKey},
    protocol::Method,
    reason::Reason,
    route::RouteKey,
};
use probe_fuzz::script::Delivery;
use probe_tests::sk_buff::Context;
use probe_user::{
    kernel::Features,
    peer_networks::PeerNetworks,
    settings::{PeerLimits, RouteLimits},
};

use crate::{
    frames::{ethernet, ipv4, segment},
    loaded::{Loaded, SERVICES},
};

/// The programs, for what a server receives and for what it sends.
pub(crate) const PROGRAMS: [&str; 2] = ["trial_receive", "trial_transmit"];
const IPV4: u16 = 0x0800;
const TCP: u8 = 6;

/// What is written into the map, and never read from it.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Slot(Connection);

// SAFETY: only written: whatever the kernel side leaves there is not taken for a `Connection` here.
unsafe impl Pod for Slot {}

/// What the kernel side counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests by method and status.
    pub(crate) requests: BTreeMap<(&'static str, u16), u64>,
    /// How many of them have each phase that is known when the answer begins.
    pub(crate) phases: [u64; 2],
    /// Answers that the client has acknowledged.
    pub(crate) delivered: u64,
    /// What escaped, by reason.
    pub(crate) unmeasured: BTreeMap<Reason, u64>,
    /// New bytes of each direction.
    pub(crate) fresh: [u64; 2],
    /// Requests that began, and that are in flight no more.
    pub(crate) progress: [u64; 2],
    /// Segments of the server that bore nothing new.
    pub(crate) again: u64,
}

/// The engine with a connection of its own.
pub(crate) struct Trial {
    loaded: Loaded,
}

impl Trial {
    /// Loads it. None where the agent reads no heads for want of `bpf_loop` (5.17), once the kernel has refused it.
    pub(crate) fn new() -> Option<Self> {
        Self::with_routes(None)
    }

    /// The same, perhaps with routes counted.
    pub(crate) fn with_routes(routes: Option<RouteLimits>) -> Option<Self> {
        Self::over(Loaded::with_routes(0, routes))
    }

    /// The same with peers counted.
    pub(crate) fn with_peers(limits: PeerLimits, networks: &PeerNetworks) -> Option<Self> {
        Self::over(Loaded::with_peers(limits, networks, Features::of_this_host()))
    }

    fn over(mut loaded: Loaded) -> Option<Self> {
        if loaded.reads_heads() {
            for name in PROGRAMS {
                program(&mut loaded, name).load().unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            return Some(Self { loaded });
        }
        for name in PROGRAMS {
            assert!(
                program(&mut loaded, name).load().is_err(),
                "this kernel can read heads, the agent thinks not"
            );
        }
        eprintln!("prog: the engine is not tried: this kernel has no bpf_loop, and refuses it");
        None
    }

    /// Begins with a connection anew, and with all counts at zero.
    pub(crate) fn begin(&mut self, connection: &Connection) {
        let mut slot: Array<_, Slot> = self.loaded.map_mut("TRIAL");
        slot.set(0, Slot(*connection), 0).expect("the map has a slot");
        let mut latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = self.loaded.map_mut("LATENCIES");
        let keys: Vec<_> = latencies.keys().map(|key| key.expect("it can be read")).collect();
        for key in keys {
            latencies.remove(&key).expect("the entry is there");
        }
        let mut entries: Array<_, u64> = self.loaded.map_mut("SERVICE_ENTRIES");
        for service in 0..SERVICES {
            entries.set(service, 0, 0).expect("the map has one for each service");
        }
        clear::<u64>(&mut self.loaded, "UNMEASURED", Reason::COUNT);
        clear::<ServiceCounters>(&mut self.loaded, "COUNTERS", 1);
    }

    /// Has a segment seen, as a server's kernel would.
    pub(crate) fn deliver(&mut self, delivery: &Delivery) {
        let frame = ethernet(IPV4, &ipv4(TCP, 0, &segment(delivery)));
        let program = match delivery.side {
            Side::Request => PROGRAMS[0],
            Side::Response => PROGRAMS[1],
        };
        self.loaded.run(program, &frame, &Context::default(), 1);
    }

    /// Requests by service and route since the beginning, where routes are counted: none is the route `other`.
    pub(crate) fn by_route(&mut self) -> BTreeMap<(u32, Option<String>), u64> {
        let routes: HashMap<_, RouteKey, u32> = self.loaded.map_mut("ROUTES");
        let mut templates = BTreeMap::new();
        for entry in &routes {
            let (key, index) = entry.expect("it can be read");
            let text =
                String::from_utf8(key.bytes().into()).expect("ASCII").trim_end_matches('\0').to_owned();
            let before = templates.insert((key.service, index), text);
            assert_eq!(before, None, "an index has two routes");
        }
        let latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = self.loaded.map_mut("LATENCIES");
        let mut requests = BTreeMap::new();
        for entry in &latencies {
            let (key, cells) = entry.expect("it can be read");
            let template = templates.get(&(key.service, u32::from(key.route))).cloned();
            assert_eq!(template.is_none(), key.route == 0, "a route without a template");
            if matches!(Span::from_key(key.span), Some(Span::Both | Span::Duration)) {
                *requests.entry((key.service, template)).or_default() +=
                    cells.iter().map(|cell| cell.count).sum::<u64>();
            }
        }
        requests
    }

    /// A map of the object.
    pub(crate) fn map_mut<'a, T: TryFrom<&'a mut Map, Error = MapError>>(&'a mut self, name: &str) -> T {
        self.loaded.map_mut(name)
    }

    /// What was counted of peers, where they are counted, since it was loaded.
    pub(crate) fn peers(&mut self) -> BTreeMap<PeerKey, PeerCell> {
        let peers: PerCpuHashMap<_, PeerKey, PeerCell> = self.loaded.map_mut("PEERS");
        let entries = peers.iter().map(|entry| entry.expect("it can be read"));
        entries.map(|(key, cells)| (key, cells.iter().sum())).collect()
    }

    /// What was counted of a service's peers without an entry.
    pub(crate) fn other_peers(&mut self, service: u32) -> PeerCell {
        let others: PerCpuArray<_, PeerCell> = self.loaded.map_mut("OTHER_PEERS");
        others.get(&service, 0).expect("the map has an entry for each service").iter().sum()
    }

    /// Runs the program that receives over a segment so often, from the connection as it is each time, and says how long a run
    /// took on average, in nanoseconds.
    pub(crate) fn time(&mut self, connection: &Connection, delivery: &Delivery, times: u32) -> f64 {
        let frame = ethernet(IPV4, &ipv4(TCP, 0, &segment(delivery)));
        let mut spent = std::time::Duration::ZERO;
        for _ in 0..times {
            let mut slot: Array<_, Slot> = self.loaded.map_mut("TRIAL");
            slot.set(0, Slot(*connection), 0).expect("the map has a slot");
            spent += self.loaded.time(PROGRAMS[0], &frame);
        }
        spent.as_nanos() as f64 / f64::from(times)
    }

    /// What was counted since the beginning.
    pub(crate) fn counts(&mut self) -> Counts {
        let mut counts = Counts::default();
        let latencies: PerCpuHashMap<_, LatencyKey, LatencyCell> = self.loaded.map_mut("LATENCIES");
        for entry in &latencies {
            let (key, cells) = entry.expect("it can be read");
            let count: u64 = cells.iter().map(|cell| cell.count).sum();
            let method = Method::from_key(key.method).expect("a method").label();
            match Span::from_key(key.span).expect("a span") {
                Span::Both | Span::Duration => {
                    *counts.requests.entry((method, key.status)).or_default() += count;
                }
                Span::Queue => counts.phases[0] += count,
                Span::Service => counts.phases[1] += count,
                Span::Delivery => counts.delivered += count,
                Span::FirstByte | Span::RoundTrip | Span::Admission => {}
            }
        }
        let unmeasured: PerCpuArray<_, u64> = self.loaded.map_mut("UNMEASURED");
        for reason in Reason::ALL {
            let count = unmeasured.get(&(reason as u32), 0).expect("it can be read").iter().sum();
            if count > 0 {
                counts.unmeasured.insert(reason, count);
            }
        }
        let counters: PerCpuArray<_, ServiceCounters> = self.loaded.map_mut("COUNTERS");
        let mut sum = ServiceCounters::default();
        counters.get(&0, 0).expect("it can be read").iter().for_each(|cpu| sum.add(cpu));
        counts.fresh = [sum.received.bytes, sum.sent.bytes];
        counts.progress = [sum.progress[0].began, sum.progress[0].ended];
        counts.again = sum.retransmitted;
        counts
    }
}

fn program<'a>(loaded: &'a mut Loaded, name: &str) -> &'a mut SchedClassifier {
    match loaded.program_mut(name) {
        Program::SchedClassifier(program) => program,
        _ => panic!("{name} is no program of TC"),
    }
}

fn clear<T: Pod + Default>(loaded: &mut Loaded, map: &str, entries: u32) {
    let mut map: PerCpuArray<_, T> = loaded.map_mut(map);
    for entry in 0..entries {
        let nothing = vec![T::default(); aya::util::nr_cpus().expect("the CPUs can be counted")];
        let nothing = nothing.try_into().expect("an entry for each CPU");
        map.set(entry, nothing, 0).expect("the map has the entry");
    }
}
