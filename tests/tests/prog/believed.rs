//! The kernel side where proxies are believed: the verifier sees more of it then, and still more where routes are counted.

use std::num::NonZeroU8;

use probe_user::{
    kernel::{Features, load},
    proxies::ProxyNetwork,
    settings::{Capacities, RouteLimits},
};

#[test]
fn it_loads_where_proxies_are_believed_with_and_without_routes() {
    let routes = RouteLimits { total: 64, per_service: NonZeroU8::new(10).expect("ten is not zero") };
    for routes in [None, Some(routes)] {
        let typed = ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::/0"];
        let networks = typed.iter().map(|typed| typed.parse::<ProxyNetwork>().expect("a network"));
        let capacities = Capacities {
            services: 16,
            series: 4096,
            series_per_service: 65_536,
            clients: 16,
            routes,
            peers: None,
        };
        let loaded = load(Features::of_this_kernel(), capacities, &networks.collect());
        assert!(loaded.is_ok(), "with {routes:?}: {}", loaded.map(|_| ()).unwrap_err());
    }
}
