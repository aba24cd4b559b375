//! Putting fragments of IP packets together again, within bounds.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use etherparse::{IpFragOffset, IpNumber, defrag::IpDefragBuf};

use super::skip::{Skip, Skipped};

/// Packets of which fragments are kept at a time.
const PACKETS: usize = 256;

/// Bytes that are kept of them: what Linux allows itself (`ipfrag_high_thresh`).
const BYTES: usize = 4 << 20;

/// How long the rest of a packet is waited for, by the capture's clock: as Linux does (`ipfrag_time`).
const PATIENCE: u64 = 30_000_000_000;

/// Of which packet something is a fragment (RFC 791, RFC 8200).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpNumber,
    pub(super) identification: u32,
}

/// A fragment, but for its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) identity: Identity,
    pub(super) offset: IpFragOffset,
    /// Whether others follow it.
    pub(super) more: bool,
}

/// The fragments of packets that are not whole yet.
#[derive(Default)]
pub(super) struct Fragments {
    parts: HashMap<Identity, Parts>,
    /// In the order of their first fragments; some are gone.
    order: VecDeque<(Identity, u64)>,
    bytes: usize,
    /// Counts the packets, so that an entry of `order` names one of them and not a later one of the same identity.
    next: u64,
    lost: u64,
}

struct Parts {
    buffer: IpDefragBuf,
    fragments: u64,
    began: u64,
    number: u64,
}

impl Fragments {
    /// Adds a fragment; gives the packet's payload if that was the last one missing.
    pub(super) fn add(
        &mut self,
        fragment: Fragment,
        bytes: &[u8],
        time: u64,
    ) -> Result<Option<Vec<u8>>, Skip> {
        self.forget_before(time.saturating_sub(PATIENCE));
        self.tidy();
        let Fragment { identity, offset, more } = fragment;
        let parts = self.parts.entry(identity).or_insert_with(|| {
            self.order.push_back((identity, self.next));
            self.next += 1;
            let buffer = IpDefragBuf::new(identity.protocol, Vec::new(), Vec::new());
            Parts { buffer, fragments: 0, began: time, number: self.next - 1 }
        });
        let before = parts.buffer.data().len();
        let added = parts.buffer.add(offset, more, bytes);
        parts.fragments += 1;
        let (complete, after) = (parts.buffer.is_complete(), parts.buffer.data().len());
        self.bytes = self.bytes.saturating_add(after).saturating_sub(before);
        if added.is_err() {
            // It contradicts the others: nobody knows which are right. This one is counted by the caller.
            self.forget(identity);
            self.lost -= 1;
            return Err(Skip::LostFragment);
        }
        if complete {
            return Ok(self.remove(identity).map(|parts| parts.buffer.take_bufs().0));
        }
        while self.parts.len() > PACKETS || self.bytes > BYTES {
            self.forget_oldest();
        }
        Ok(None)
    }

    /// Counts the fragments of packets that never became whole.
    pub(super) fn end(mut self, skipped: &mut Skipped) {
        self.lost += self.parts.values().map(|parts| parts.fragments).sum::<u64>();
        if self.lost > 0 {
            *skipped.entry(Skip::LostFragment).or_default() += self.lost;
        }
    }

    fn forget_before(&mut self, time: u64) {
        while let Some((identity, number)) = self.order.front() {
            let parts = self.parts.get(identity).filter(|parts| parts.number == *number);
            if parts.is_some_and(|parts| parts.began >= time) {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Bounds the order, most of which is of packets that have become whole, or that contradicted themselves.
    fn tidy(&mut self) {
        if self.order.len() > 2 * PACKETS {
            let parts = &self.parts;
            self.order.retain(|(identity, number)| {
                parts.get(identity).is_some_and(|parts| parts.number == *number)
            });
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((identity, number)) = self.order.pop_front()
            && self.parts.get(&identity).is_some_and(|parts| parts.number == number)
        {
            self.forget(identity);
        }
    }

    fn forget(&mut self, identity: Identity) {
        if let Some(parts) = self.remove(identity) {
            self.lost += parts.fragments;
        }
    }

    fn remove(&mut self, identity: Identity) -> Option<Parts> {
        let parts = self.parts.remove(&identity)?;
        self.bytes = self.bytes.saturating_sub(parts.buffer.data().len());
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Behind one that waits for its rest nothing is forgotten for its age.
    #[test]
    fn fragments_that_contradict_themselves_take_no_memory() {
        let identity = |identification| Identity {
            source: Ipv4Addr::LOCALHOST.into(),
            destination: Ipv4Addr::LOCALHOST.into(),
            protocol: IpNumber::TCP,
            identification,
        };
        let first = |identification| Fragment {
            identity: identity(identification),
            offset: IpFragOffset::ZERO,
            more: true,
        };
        let mut fragments = Fragments::default();
        assert_eq!(fragments.add(first(0), &[0; 8], 0), Ok(None));
        for identification in 1..10_000 {
            // Others follow it, and yet it does not end where one can.
            assert_eq!(fragments.add(first(identification), &[0; 7], 0), Err(Skip::LostFragment));
        }
        assert_eq!(fragments.parts.len(), 1);
        assert!(fragments.order.len() <= 2 * PACKETS + 1, "{} packets are remembered", fragments.order.len());
    }
}
