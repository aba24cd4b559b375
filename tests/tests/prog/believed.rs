//! The kernel side where proxies are believed: the verifier sees more of it then.

use probe_user::{
    kernel::{Features, load},
    proxies::ProxyNetwork,
    settings::Capacities,
};

#[test]
fn it_loads_where_proxies_are_believed() {
    let typed = ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::/0"];
    let networks = typed.iter().map(|typed| typed.parse::<ProxyNetwork>().expect("a network"));
    let capacities = Capacities { services: 16, series: 4096, clients: 16 };
    let loaded = load(Features::of_this_kernel(), capacities, &networks.collect());
    assert!(loaded.is_ok(), "{}", loaded.map(|_| ()).unwrap_err());
}
