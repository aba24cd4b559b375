//! Trusted proxies: networks whose PROXY headers and forwarding fields name the client.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv6Net};

/// The networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proxies(Vec<IpNet>);

/// A network as the kernel side looks it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its address, IPv4 as IPv4-mapped IPv6.
    pub address: [u8; 16],
    /// Bits of it that all of the network have in common.
    pub prefix: u32,
    /// Whether proxies in it are trusted. The longest prefix decides.
    pub trusted: bool,
}

/// A network, as it is typed: `10.0.0.0/8`, `fd00::/8`, or an address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyNetwork(IpNet);

/// What was typed is no network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// No address, or no length of a prefix that the family has.
    #[error("`{0}` is not a network: write an address and a prefix length, such as 10.0.0.0/8 or fd00::/8")]
    Unreadable(String),
    /// Which of the two was meant?
    #[error("`{typed}` is ambiguous: write {network} for the network, {address} for the address alone")]
    HostBits {
        /// What was typed.
        typed: String,
        /// All of it.
        network: IpNet,
        /// Only this one.
        address: IpAddr,
    },
}

impl FromStr for ProxyNetwork {
    type Err = BadNetwork;

    fn from_str(typed: &str) -> Result<Self, BadNetwork> {
        let alone = typed.parse::<IpAddr>().map(IpNet::from);
        let network = alone.or_else(|_| typed.parse::<IpNet>());
        let network = network.map_err(|_| BadNetwork::Unreadable(typed.to_owned()))?;
        if network.trunc() == network {
            return Ok(Self(network));
        }
        let (typed, address) = (typed.to_owned(), network.addr());
        Err(BadNetwork::HostBits { typed, network: network.trunc(), address })
    }
}

impl ProxyNetwork {
    /// The network.
    pub(crate) const fn network(self) -> IpNet {
        self.0
    }
}

/// A network's address, IPv4 as IPv4-mapped IPv6, and the bits of it that all of the network have in common.
pub(crate) fn mapped(network: &IpNet) -> ([u8; 16], u32) {
    let (address, prefix): (Ipv6Addr, u8) = match network {
        IpNet::V4(v4) => (v4.addr().to_ipv6_mapped(), v4.prefix_len() + 96),
        IpNet::V6(v6) => (v6.addr(), v6.prefix_len()),
    };
    (address.octets(), prefix.into())
}

impl FromIterator<ProxyNetwork> for Proxies {
    fn from_iter<I: IntoIterator<Item = ProxyNetwork>>(networks: I) -> Self {
        let mut networks: Vec<_> = networks.into_iter().map(|ProxyNetwork(network)| network).collect();
        networks.sort_unstable();
        networks.dedup();
        Self(networks)
    }
}

impl Proxies {
    /// None at all.
    pub const NONE: Self = Self(Vec::new());

    /// Whether there is none.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// What the kernel side's table is filled with.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.0.iter().map(Entry::of).collect();
        // A network of IPv6 that has the mapped addresses in it does not mean IPv4.
        let mapped = Ipv6Net::new_assert(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96);
        let shadows =
            |network: &IpNet| matches!(network, IpNet::V6(v6) if *v6 != mapped && v6.contains(&mapped));
        let taken = entries.iter().any(|entry| entry.prefix == 96 && entry.address == mapped.addr().octets());
        if self.0.iter().any(shadows) && !taken {
            entries.push(Entry { address: mapped.addr().octets(), prefix: 96, trusted: false });
        }
        entries
    }
}

impl Entry {
    fn of(network: &IpNet) -> Self {
        let (address, prefix) = mapped(network);
        Self { address, prefix, trusted: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(typed: &[&str]) -> Proxies {
        typed.iter().map(|typed| typed.parse::<ProxyNetwork>().unwrap()).collect()
    }

    #[test]
    fn networks_and_addresses_of_both_families_are_read() {
        let prefixes = |typed: &[&str]| -> Vec<_> {
            proxies(typed).entries().iter().map(|entry| (entry.prefix, entry.trusted)).collect()
        };
        assert_eq!(prefixes(&["10.0.0.0/8", "192.0.2.7", "10.0.0.0/8"]), [(104, true), (128, true)]);
        assert_eq!(prefixes(&["fd00::/8", "::1"]), [(128, true), (8, true)]);
        assert_eq!(prefixes(&["::/0"]), [(0, true), (96, false)], "all of IPv6 is not IPv4");
        assert_eq!(prefixes(&["::/0", "0.0.0.0/0"]), [(96, true), (0, true)]);
        assert!(proxies(&[]).are_none() && !proxies(&["::1"]).are_none());
    }

    #[test]
    fn what_is_no_network_is_told_with_the_way_to_write_one() {
        let sentence = |typed: &str| typed.parse::<ProxyNetwork>().unwrap_err().to_string();
        assert!(sentence("proxy.example").contains("10.0.0.0/8"));
        assert!(sentence("10.0.0.0/33").contains("not a network"));
        assert_eq!(
            sentence("10.1.2.3/8"),
            "`10.1.2.3/8` is ambiguous: write 10.0.0.0/8 for the network, 10.1.2.3 for the address alone"
        );
    }
}
