//! A report in which every metric has a value.

use std::time::{Duration, Instant};

use probe_common::{
    bucket::of_nanoseconds,
    counters::Volume,
    exchange::{ABORTED, Ending},
    interface::Transport,
    phase::Phase,
    protocol::{Method, Protocol},
    reason::Reason,
    service::Role,
};

use crate::{
    feature::{Feature, FeatureState},
    histogram::Histogram,
    identity::Identity,
    place::Place,
    report::Report,
    resources::{
        Resources, ServiceUse,
        node::{NodeUse, Room},
    },
    settings::ErrorClass,
    snapshot::{
        Connections, InFlight, InterfaceVolumes, Peer, PeerTotals, RequestKind, Service, ServiceId, Snapshot,
        Table,
    },
    tier::{Judge, Policy},
    window::Window,
};

const MILLISECOND: u64 = 1_000_000;

/// Ten seconds in which a server answered a hundred requests of a caller, a millisecond each.
pub(crate) fn report(name: &str) -> Report {
    let start = Instant::now();
    let mut window = Window::new(Duration::from_secs(10), ErrorClass::Server);
    window.push(empty(start));
    let mut judge = Judge::new(Policy::default(), Duration::from_secs(10));
    let report = window.push(busy(name, start + Duration::from_secs(10))).judged_by(&mut judge);
    report.with_resources(resources(name))
}

/// What the server and the node use.
fn resources(name: &str) -> Resources {
    let stalls = [[Some(Duration::from_millis(250)); 2]; 3];
    let server = ServiceUse { cpu: Some(Duration::from_millis(1500)), memory: Some(1 << 20), stalls };
    let node = NodeUse {
        cpu: vec![("user", Duration::from_secs(10)), ("idle", Duration::from_secs(90))],
        cpus: 2,
        memory: Room { used: 1 << 30, available: 3 << 30 },
        swap: Room::default(),
        load: [0.5, 0.25, 0.125],
        stalls,
    };
    Resources { services: [(Identity::named(name), server)].into(), node: Some(node) }
}

/// The same, of an agent that counts routes.
pub(crate) fn report_by_route(route: &str) -> Report {
    let mut report = report("nginx");
    let mut snapshot = Snapshot::clone(&report.snapshot);
    for service in snapshot.services.values_mut() {
        let by_route = |(kind, durations)| (RequestKind { route: Some(route.into()), ..kind }, durations);
        service.requests = std::mem::take(&mut service.requests).into_iter().map(by_route).collect();
    }
    report.snapshot = snapshot.into();
    report
}

/// The same with each request under so many paths.
pub(crate) fn report_by_routes(routes: u32) -> Report {
    let mut report = report("nginx");
    let mut snapshot = Snapshot::clone(&report.snapshot);
    for service in snapshot.services.values_mut() {
        let requests = std::mem::take(&mut service.requests);
        for number in 0..routes {
            let route = Some(format!("/{number}").into());
            let by_route = |(kind, durations): (&RequestKind, &Histogram)| {
                (RequestKind { route: Clone::clone(&route), ..kind.clone() }, durations.clone())
            };
            service.requests.extend(requests.iter().map(by_route));
        }
    }
    report.snapshot = snapshot.into();
    report
}

/// The same, an hour later.
pub(crate) fn idle_report() -> Report {
    let start = Instant::now();
    let mut window = Window::new(Duration::from_secs(10), ErrorClass::Server);
    window.push(busy("nginx", start));
    window.push(busy("nginx", start + Duration::from_secs(10)))
}

fn empty(taken: Instant) -> Snapshot {
    Snapshot {
        taken,
        collection: Duration::from_millis(2),
        services: [].into(),
        interfaces: [].into(),
        node: Some([0, 0]),
        unmeasured: Reason::ALL.map(|reason| (reason, 0)).into(),
        tables: vec![Table { name: "services", entries: 2, capacity: 4096, bytes: 1_687_720 }],
        features: vec![
            FeatureState { feature: Feature::Requests, missing: None },
            FeatureState {
                feature: Feature::Older,
                missing: Some(Feature::Older.missing("no tcp_diag (os error 2)").into()),
            },
        ],
    }
}

fn busy(name: &str, taken: Instant) -> Snapshot {
    let identity = |service: &str, role| ServiceId {
        identity: Identity::named(service),
        port: 80,
        role,
        transport: Transport::Tcp,
    };
    let quic = ServiceId { transport: Transport::Udp, ..identity(name, Role::Server) };
    let datagrams = Service {
        received: Volume { bytes: 3000, packets: 30 },
        wire: [3840, 0],
        users: 2,
        ..Service::default()
    };
    let mut interface = InterfaceVolumes::default();
    interface[1][0][0] = Volume { bytes: 100_000, packets: 100 };
    Snapshot {
        services: [
            (identity(name, Role::Server), service(3)),
            (identity("curl", Role::Client), service(0)),
            (quic, datagrams),
        ]
        .into(),
        interfaces: [("eth0".into(), interface), ("lo".into(), InterfaceVolumes::default())].into(),
        node: Some([0, 100_000]),
        ..empty(taken)
    }
}

fn service(users: u64) -> Service {
    let answer = |method, status, count| {
        let kind =
            RequestKind { protocol: Protocol::Http1, method, status, route: None, ending: Ending::Whole };
        (kind, milliseconds(count))
    };
    Service {
        received: Volume { bytes: 10_000, packets: 100 },
        sent: Volume { bytes: 90_000, packets: 150 },
        connections: Connections { opened: 10, closed: 6, open: 4, failed: 1, reset: 2 },
        wire: [15_000, 98_000],
        retransmitted: 7,
        round_trips: milliseconds(10),
        users,
        peers: [(peer(), peer_totals())].into(),
        requests: [
            answer(Method::Get, 200, 90),
            answer(Method::Get, 503, 8),
            answer(Method::Post, ABORTED, 2),
        ]
        .into(),
        first_byte: [(Protocol::Http1, milliseconds(98))].into(),
        phases: Phase::ALL.map(|phase| ((Protocol::Http1, phase), milliseconds(98))).into(),
        in_flight: [(Protocol::Http1, InFlight { requests: 2, oldest: Some(Duration::from_millis(1500)) })]
            .into(),
    }
}

fn peer() -> Peer {
    let (namespace, pod, service) = ("shop".into(), "web-1".into(), "web".into());
    Peer { name: "192.0.2.7".into(), namespace, pod, service }
}

fn peer_totals() -> PeerTotals {
    PeerTotals { requests: 100, errors: 10, duration: Duration::from_millis(100), connections: 10 }
}

fn milliseconds(count: u64) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(of_nanoseconds(MILLISECOND), count, count * MILLISECOND);
    histogram
}

/// The same, of an agent on a node of a cluster.
pub(crate) fn report_in_cluster(place: &Place) -> Report {
    let mut report = report("nginx");
    let there = |id: ServiceId| {
        let identity = Identity { place: Some(place.clone().into()), ..id.identity };
        ServiceId { identity, ..id }
    };
    let mut snapshot = Snapshot::clone(&report.snapshot);
    snapshot.services = std::mem::take(&mut snapshot.services)
        .into_iter()
        .map(|(id, service)| (there(id), service))
        .collect();
    report.snapshot = snapshot.into();
    if let Some(rates) = &mut report.rates {
        rates.services =
            std::mem::take(&mut rates.services).into_iter().map(|(id, rates)| (there(id), rates)).collect();
    }
    report.endings =
        std::mem::take(&mut report.endings).into_iter().map(|(id, endings)| (there(id), endings)).collect();
    report.tiers =
        std::mem::take(&mut report.tiers).into_iter().map(|(id, judgement)| (there(id), judgement)).collect();
    let mut resources = Resources::clone(&report.resources);
    let here = |identity: Identity| Identity { place: Some(place.clone().into()), ..identity };
    resources.services = resources.services.into_iter().map(|(who, used)| (here(who), used)).collect();
    report.with_resources(resources)
}
