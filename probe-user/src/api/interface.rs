//! Interfaces, and all of them together.

use probe_common::interface::{Family, Transport, Way};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Amounts, Rates, Tick};
use crate::{
    report::{InterfaceRates, Report},
    snapshot::InterfaceVolumes,
};

/// The interfaces that are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Interfaces {
    /// Of when they are.
    pub tick: Tick,
    /// What entered and left the node, each byte once however many interfaces it crossed; null without the feature
    /// `interfaces`.
    pub node: Option<NodeBandwidth>,
    /// An interface each.
    pub interfaces: Vec<Interface>,
}

/// Bytes of the node.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeBandwidth {
    /// Bytes of the frames.
    pub bytes_total: Amounts,
    /// Bytes per second over the window; null until there are rates.
    pub bandwidth_bytes_per_second: Option<Rates>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Interface {
    /// Its name.
    pub interface: String,
    /// What crossed it: only kinds of traffic that were seen.
    pub traffic: Vec<InterfaceTraffic>,
}

/// Traffic of one kind across an interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InterfaceTraffic {
    /// `receive` or `transmit`.
    pub direction: String,
    /// `ipv4`, `ipv6` or `other`.
    pub family: String,
    /// `tcp`, `udp`, `icmp` or `other`.
    pub transport: String,
    /// Bytes of the frames.
    pub bytes_total: u64,
    /// Packets.
    pub packets_total: u64,
    /// Bytes per second over the window; null until there are rates.
    pub bandwidth_bytes_per_second: Option<f64>,
}

impl Interfaces {
    pub(super) fn of(report: &Report, tick: Tick) -> Self {
        let rates = report.rates.as_ref();
        let node = report.snapshot.node.map(|[receive, transmit]| NodeBandwidth {
            bytes_total: Amounts { receive, transmit },
            bandwidth_bytes_per_second: rates
                .map(|rates| Rates { receive: rates.node[0], transmit: rates.node[1] }),
        });
        let interfaces = report
            .snapshot
            .interfaces
            .iter()
            .map(|(name, volumes)| {
                let rates = rates.and_then(|rates| rates.interfaces.get(name));
                Interface { interface: name.clone(), traffic: traffic(volumes, rates) }
            })
            .collect();
        Self { tick, node, interfaces }
    }
}

fn traffic(volumes: &InterfaceVolumes, rates: Option<&InterfaceRates>) -> Vec<InterfaceTraffic> {
    let mut traffic = Vec::new();
    for way in Way::ALL {
        for family in Family::ALL {
            for transport in Transport::ALL {
                let index = (way as usize, family as usize, transport as usize);
                let volume = volumes[index.0][index.1][index.2];
                if volume.packets > 0 {
                    traffic.push(InterfaceTraffic {
                        direction: way.label().to_owned(),
                        family: family.label().to_owned(),
                        transport: transport.label().to_owned(),
                        bytes_total: volume.bytes,
                        packets_total: volume.packets,
                        bandwidth_bytes_per_second: rates.map(|rates| rates[index.0][index.1][index.2]),
                    });
                }
            }
        }
    }
    traffic
}
