//! Which interfaces a node's bytes enter and leave by: those of the others are the same bytes once more.

use std::collections::{BTreeMap, BTreeSet};

use super::links::{Link, Nature};

/// The interfaces whose bytes add up to the node's.
///
/// Of the counted ones, those that rest on no counted one; of these, devices. Where there is no device, as in a
/// container, virtual cables, and where there are none either, tunnels. An interface of others that are not counted
/// stands for them.
pub(super) fn ways_out(present: &BTreeMap<u32, Link>, counted: &BTreeSet<u32>) -> BTreeSet<u32> {
    let below = below(present);
    let candidates: BTreeMap<u32, Nature> = counted
        .iter()
        .filter(|&&index| !is_between(present, index))
        .filter_map(|&index| {
            let foundation = foundation(index, &below);
            if foundation.iter().any(|lower| *lower != index && counted.contains(lower)) {
                return None;
            }
            let nature = foundation.iter().filter_map(|lower| Some(present.get(lower)?.nature)).min()?;
            (!matches!(nature, Nature::Inward | Nature::Torn)).then_some((index, nature))
        })
        .collect();
    let nearest = candidates.values().min().copied();
    candidates.into_iter().filter(|(_, nature)| Some(*nature) == nearest).map(|(index, _)| index).collect()
}

/// The other end of a cable, if it is in this namespace.
fn other_end(present: &BTreeMap<u32, Link>, index: u32) -> Option<u32> {
    let link = present.get(&index)?;
    let other = link.through.filter(|other| present.contains_key(other))?;
    // One that moved to another namespace does not tell the end that stayed; but then its index is not here.
    // One end is told to be torn before the other one is, and for longer.
    let is_cable = matches!(present[&other].nature, Nature::Cable | Nature::Torn);
    (link.nature == Nature::Cable && is_cable).then_some(other)
}

/// Whether it is an end of a cable within the namespace: what goes in comes out, and has left nothing.
fn is_between(present: &BTreeMap<u32, Link>, index: u32) -> bool {
    other_end(present, index).is_some()
        || present.keys().any(|&candidate| other_end(present, candidate) == Some(index))
}

/// What each interface rests on: its members, or the interface that its frames go on through.
fn below(present: &BTreeMap<u32, Link>) -> BTreeMap<u32, Vec<u32>> {
    let mut below: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (&index, link) in present {
        if let Some(master) = link.master {
            below.entry(master).or_default().push(index);
        }
        if let Some(through) = link.through.filter(|_| link.nature != Nature::Cable) {
            below.entry(index).or_default().push(through);
        }
    }
    below
}

/// An interface, and all that it rests on.
fn foundation(index: u32, below: &BTreeMap<u32, Vec<u32>>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![index];
    while let Some(next) = waiting.pop() {
        if found.insert(next) {
            waiting.extend(below.get(&next).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interfaces of a namespace, and which of them are counted.
    #[derive(Default)]
    struct Namespace {
        present: BTreeMap<u32, Link>,
        uncounted: BTreeSet<u32>,
    }

    impl Namespace {
        fn new(links: &[(u32, Nature)]) -> Self {
            let mut namespace = Self::default();
            for (index, nature) in [(1, Nature::Inward)].iter().chain(links) {
                let link = Link {
                    name: format!("if{index}"),
                    nature: *nature,
                    header_length: 14,
                    through: None,
                    master: None,
                };
                namespace.present.insert(*index, link);
            }
            namespace
        }

        fn through(mut self, index: u32, through: u32) -> Self {
            self.present.get_mut(&index).unwrap().through = Some(through);
            self
        }

        fn member(mut self, index: u32, master: u32) -> Self {
            self.present.get_mut(&index).unwrap().master = Some(master);
            self
        }

        fn without(mut self, index: u32) -> Self {
            self.uncounted.insert(index);
            self
        }

        fn ways_out(&self) -> Vec<u32> {
            let counted = self.present.keys().copied().filter(|index| !self.uncounted.contains(index));
            ways_out(&self.present, &counted.collect()).into_iter().collect()
        }
    }

    use Nature::{Cable, Hardware, Stacked, Torn, Tunnel};

    #[test]
    fn a_host_with_containers_is_its_devices() {
        // A bond of two, a VLAN on it, a bridge over the VLAN and a container's cable, a tunnel.
        let host = Namespace::new(&[
            (2, Hardware),
            (3, Hardware),
            (4, Stacked),
            (5, Stacked),
            (6, Stacked),
            (7, Cable),
            (8, Tunnel),
        ]);
        let host = host.member(2, 4).member(3, 4).through(5, 4).member(5, 6).member(7, 6).through(8, 4);
        assert_eq!(host.ways_out(), [2, 3]);
    }

    #[test]
    fn a_bridge_without_ports_and_a_routed_cable_add_nothing_to_a_device() {
        assert_eq!(Namespace::new(&[(2, Hardware), (3, Stacked), (4, Cable)]).ways_out(), [2]);
    }

    #[test]
    fn in_a_namespace_without_devices_cables_lead_out() {
        let namespace = Namespace::new(&[(2, Cable), (3, Cable), (4, Stacked), (5, Stacked), (6, Tunnel)]);
        assert_eq!(namespace.member(2, 4).member(3, 4).through(5, 2).ways_out(), [2, 3]);
    }

    #[test]
    fn a_cable_within_the_namespace_leads_nowhere() {
        let namespace = || Namespace::new(&[(2, Cable), (3, Cable), (4, Cable)]);
        assert_eq!(namespace().through(2, 3).through(3, 2).ways_out(), [4]);
        assert_eq!(namespace().through(3, 2).ways_out(), [4], "one end tells");
        assert_eq!(namespace().through(2, 3).through(3, 2).without(3).ways_out(), [4]);
        assert_eq!(namespace().through(2, 9).ways_out(), [2, 3, 4], "the other end has moved away");
    }

    #[test]
    fn a_cable_that_is_made_or_removed_leads_nowhere() {
        // The kernel tells of one end after the other: first of the one that has no other yet, and last of the one whose
        // other has gone.
        let namespace = |links: &[(u32, Nature)]| Namespace::new(&[&[(2, Cable)], links].concat());
        assert_eq!(namespace(&[(3, Torn)]).ways_out(), [2]);
        assert_eq!(namespace(&[(3, Torn), (4, Cable)]).through(4, 3).ways_out(), [2]);
        assert_eq!(namespace(&[(3, Torn), (4, Torn)]).ways_out(), [2]);
        assert_eq!(namespace(&[(3, Torn), (4, Stacked)]).member(3, 4).ways_out(), [2]);
    }

    #[test]
    fn what_rests_on_an_uncounted_device_stands_for_it() {
        let host = || Namespace::new(&[(2, Hardware), (3, Hardware), (4, Stacked)]);
        assert_eq!(host().through(4, 2).without(2).ways_out(), [3, 4]);
        assert_eq!(host().through(4, 2).without(2).without(3).ways_out(), [4]);
        assert_eq!(host().through(4, 2).ways_out(), [2, 3]);
    }

    #[test]
    fn a_ring_of_interfaces_ends() {
        let ring = Namespace::new(&[(2, Stacked), (3, Stacked)]).through(2, 3).through(3, 2);
        assert!(ring.ways_out().is_empty());
    }

    #[test]
    fn the_loopback_device_leads_nowhere() {
        assert!(Namespace::new(&[]).ways_out().is_empty());
        assert_eq!(Namespace::new(&[(2, Tunnel)]).ways_out(), [2]);
    }
}
