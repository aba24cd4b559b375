//! Which end of a connection is the server's, where its handshake is not in the capture.

use std::{net::SocketAddr, num::NonZeroUsize};

use lru::LruCache;
use probe_common::window::Window;

use super::{
    conversation::Opening,
    pair::{End, Pair},
    tcp::Segment,
};

/// Listeners that are remembered.
const LISTENERS: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

/// Segments with payload that are looked at before the ports decide.
pub(super) const ATTEMPTS: u8 = 16;

/// Who is known to answer.
pub(super) struct Listeners(LruCache<SocketAddr, ()>);

impl Default for Listeners {
    fn default() -> Self {
        Self(LruCache::sparse(LISTENERS))
    }
}

impl Listeners {
    /// Somebody answers there.
    pub(super) fn learn(&mut self, server: SocketAddr) {
        self.0.put(server, ());
    }

    /// The one end of a connection that is known to answer others.
    fn among(&mut self, pair: &Pair) -> Option<End> {
        match [End::Low, End::High].map(|end| self.0.get(&pair.at(end)).is_some()) {
            [true, false] => Some(End::Low),
            [false, true] => Some(End::High),
            _ => None,
        }
    }

    /// The server's end, as far as a segment of the connection tells: who is known to answer others, else who is asked.
    pub(super) fn server(
        &mut self,
        pair: &Pair,
        from: End,
        segment: &Segment<'_>,
        window: &mut Window,
    ) -> Option<End> {
        if let Some(known) = self.among(pair) {
            return Some(known);
        }
        let server = match Opening::of(segment.payload, window) {
            Opening::Request => from.other(),
            Opening::Response => from,
            Opening::Other => return None,
        };
        self.learn(pair.at(server));
        Some(server)
    }
}
