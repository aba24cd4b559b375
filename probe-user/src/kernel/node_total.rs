//! The bytes of the node: of the interfaces by which they enter and leave, as long as they are that.

use probe_common::interface::Way;

use crate::snapshot::{InterfaceVolumes, NodeBytes};

/// The bytes of the node since the probe started. Interfaces come, go, and become members of others: it only grows.
#[derive(Debug, Default)]
pub(super) struct NodeTotal(NodeBytes);

/// How an interface takes part in it.
#[derive(Debug, Default)]
pub(super) struct Share {
    role: Role,
    /// What is accounted for; none before it was for the first time.
    until: Option<NodeBytes>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    /// Bytes enter and leave the node by it.
    WayOut,
    /// Its bytes are counted elsewhere, or do not leave the node.
    #[default]
    Within,
}

impl Share {
    pub(super) fn is_of_way_out(&self) -> bool {
        self.role == Role::WayOut
    }

    /// Whether nothing of it has been accounted for.
    pub(super) fn is_new(&self) -> bool {
        self.until.is_none()
    }

    /// Has it be from now on what it has not been until now.
    pub(super) fn turn(&mut self) {
        self.role = if self.is_of_way_out() { Role::Within } else { Role::WayOut };
    }
}

impl NodeTotal {
    /// Accounts for what an interface has carried since it was accounted for last.
    pub(super) fn add(&mut self, share: &mut Share, volumes: &InterfaceVolumes) {
        let now = Way::ALL.map(|way| volumes[way as usize].iter().flatten().map(|volume| volume.bytes).sum());
        let before = share.until.replace(now).unwrap_or_default();
        if share.is_of_way_out() {
            for (total, (now, before)) in self.0.iter_mut().zip(now.into_iter().zip(before)) {
                *total += now - before;
            }
        }
    }

    pub(super) fn bytes(&self) -> NodeBytes {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(bytes: [u64; 2]) -> InterfaceVolumes {
        let mut volumes = InterfaceVolumes::default();
        for (way, bytes) in bytes.into_iter().enumerate() {
            volumes[way][0][0].bytes = bytes;
        }
        volumes
    }

    #[test]
    fn only_what_passed_while_an_interface_was_a_way_out_is_the_nodes() {
        let (mut node, mut share) = (NodeTotal::default(), Share::default());
        node.add(&mut share, &carried([5, 7]));
        assert_eq!(node.bytes(), [0, 0]);
        share.turn();
        node.add(&mut share, &carried([15, 107]));
        node.add(&mut share, &carried([15, 107]));
        assert_eq!(node.bytes(), [10, 100]);
        share.turn();
        node.add(&mut share, &carried([1000, 1000]));
        assert_eq!(node.bytes(), [10, 100]);
    }
}
