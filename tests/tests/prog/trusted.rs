//! The kernel side with trusted proxies: the verifier sees more of it then, and still more where routes and peers are
//! counted.

use std::num::NonZeroU8;

use probe_user::{
    kernel::{Features, Networks, load},
    peer_networks::PeerNetworks,
    proxies::{Proxies, ProxyNetwork},
    settings::{Capacities, PeerLimits, RouteLimits},
};

#[test]
fn it_loads_with_trusted_proxies_with_and_without_routes_and_peers() {
    let typed = ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::/0"];
    let proxies: Proxies =
        typed.iter().map(|typed| typed.parse::<ProxyNetwork>().expect("a network")).collect();
    let peers: PeerNetworks = std::iter::once("10.0.0.0/8=cluster".parse().expect("a network")).collect();
    let networks = Networks { proxies: &proxies, peers: &peers };
    let routes = RouteLimits { total: 64, per_service: NonZeroU8::new(10).expect("ten is not zero") };
    let limits = PeerLimits { total: 64, per_service: 10 };
    for (routes, peers) in
        [(None, None), (Some(routes), None), (None, Some(limits)), (Some(routes), Some(limits))]
    {
        let capacities =
            Capacities { services: 16, series: 4096, series_per_service: 65_536, clients: 16, routes, peers };
        let loaded = load(&mut Features::of_this_host(), capacities, networks);
        assert!(loaded.is_ok(), "with {routes:?} and {peers:?}: {}", loaded.map(|_| ()).unwrap_err());
    }
}
