//! Networks whose addresses are one peer, by a name that somebody chose: `10.0.0.0/8=office`.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use ipnet::IpNet;

use crate::proxies::{BadNetwork, ProxyNetwork, mapped};

/// What stands for all peers that found no room.
pub const OTHER: &str = "other";

/// The networks, with their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerNetworks {
    networks: Vec<(IpNet, u32)>,
    /// By their number, which begins with one.
    names: Vec<Arc<str>>,
}

/// A network with its name, as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNetwork {
    network: IpNet,
    name: String,
}

/// What was typed is no network with a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeerNetwork {
    /// There is no name.
    #[error("`{0}` is not a named network: write CIDR=NAME, such as 10.0.0.0/8=office")]
    Nameless(String),
    /// The name is taken.
    #[error("`{0}`: `other` is reserved for peers beyond the limits; choose another name")]
    Other(String),
    /// There is no network.
    #[error(transparent)]
    Network(#[from] BadNetwork),
}

impl FromStr for PeerNetwork {
    type Err = BadPeerNetwork;

    fn from_str(typed: &str) -> Result<Self, BadPeerNetwork> {
        let (network, name) = typed
            .split_once('=')
            .map(|(network, name)| (network.trim(), name.trim()))
            .filter(|(_, name)| !name.is_empty())
            .ok_or_else(|| BadPeerNetwork::Nameless(typed.to_owned()))?;
        if name == OTHER {
            return Err(BadPeerNetwork::Other(typed.to_owned()));
        }
        Ok(Self { network: network.parse::<ProxyNetwork>()?.network(), name: name.to_owned() })
    }
}

impl FromIterator<PeerNetwork> for PeerNetworks {
    fn from_iter<I: IntoIterator<Item = PeerNetwork>>(typed: I) -> Self {
        let typed: Vec<_> = typed.into_iter().collect();
        let names: BTreeSet<&str> = typed.iter().map(|network| network.name.as_str()).collect();
        let number =
            |name: &str| names.iter().zip(1..).find_map(|(of, number)| (*of == name).then_some(number));
        let mut networks: Vec<_> =
            typed.iter().filter_map(|network| Some((network.network, number(&network.name)?))).collect();
        networks.sort_unstable();
        networks.dedup_by_key(|(network, _)| *network);
        Self { networks, names: names.iter().map(|name| Arc::from(*name)).collect() }
    }
}

impl PeerNetworks {
    /// None at all.
    pub const NONE: Self = Self { networks: Vec::new(), names: Vec::new() };

    /// Whether there is none.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.networks.is_empty()
    }

    /// The name of a network, by its number.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<&Arc<str>> {
        self.names.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// What the kernel side's table is filled with: address, prefix and number. The longest prefix decides, and number 0 is no
    /// network.
    #[must_use]
    pub fn entries(&self) -> Vec<([u8; 16], u32, u32)> {
        let mut entries: Vec<_> = self
            .networks
            .iter()
            .map(|(network, number)| {
                let (address, prefix) = mapped(network);
                (address, prefix, *number)
            })
            .collect();
        // A network of IPv6 that has the mapped addresses in it does not mean IPv4.
        let (address, prefix) = mapped(&IpNet::V4(ipnet::Ipv4Net::default()));
        let taken = entries.iter().any(|entry| (entry.0, entry.1) == (address, prefix));
        if !taken && entries.iter().any(|(of, length, _)| *length < prefix && shares(of, &address, *length)) {
            entries.push((address, prefix, 0));
        }
        entries
    }
}

/// Whether two addresses have their first bits in common.
fn shares(one: &[u8; 16], other: &[u8; 16], bits: u32) -> bool {
    let differ = u128::from_be_bytes(*one) ^ u128::from_be_bytes(*other);
    differ.leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(typed: &[&str]) -> PeerNetworks {
        typed.iter().map(|typed| typed.parse::<PeerNetwork>().unwrap()).collect()
    }

    #[test]
    fn networks_of_one_name_are_one_peer() {
        let named = networks(&["192.0.2.0/24=office", "10.0.0.0/8=cluster", "fd00::/8=office"]);
        let entries: Vec<_> = named.entries().iter().map(|(_, prefix, number)| (*prefix, *number)).collect();
        assert_eq!(entries, [(104, 1), (120, 2), (8, 2)]);
        assert_eq!(named.name(1).map(|name| &**name), Some("cluster"));
        assert_eq!(named.name(2).map(|name| &**name), Some("office"));
        assert_eq!((named.name(0), named.name(3)), (None, None));
        assert!(networks(&[]).are_none() && PeerNetworks::NONE.entries().is_empty());
    }

    #[test]
    fn all_of_ipv6_is_not_ipv4() {
        let numbers = |typed: &[&str]| -> Vec<_> {
            networks(typed).entries().iter().map(|(_, prefix, number)| (*prefix, *number)).collect()
        };
        assert_eq!(numbers(&["::/0=world"]), [(0, 1), (96, 0)]);
        assert_eq!(numbers(&["::/0=world", "0.0.0.0/0=old"]), [(96, 1), (0, 2)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_way_to_write_it() {
        let sentence = |typed: &str| typed.parse::<PeerNetwork>().unwrap_err().to_string();
        assert!(sentence("10.0.0.0/8").contains("10.0.0.0/8=office"));
        assert!(sentence("10.0.0.0/8=").contains("10.0.0.0/8=office"));
        assert!(sentence("10.0.0.0/8=other").contains("choose another name"));
        assert!(sentence("10.1.2.3/8=office").contains("10.0.0.0/8 for the network"));
    }
}
