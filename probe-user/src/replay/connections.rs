//! The connections of a capture: which one a segment belongs to.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::{
    half::Remains,
    pair::{End, Pair},
    services::Services,
    skip::Skip,
    span::Span,
    talk::{Common, Ending, Greeting, Talk},
    tcp::Segment,
    watch::Watch,
};

/// Connections that have ended and are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

/// All connections that are followed or remembered.
pub(super) struct Connections {
    followed: LruCache<Pair, Box<Talk>>,
    limit: usize,
    ended: LruCache<Pair, Remains>,
    common: Common,
}

impl Connections {
    /// None yet, and never more than so many at a time.
    pub(super) fn new(limit: usize, common: Common) -> Self {
        let ended = LruCache::sparse(REMEMBERED);
        Self { followed: LruCache::unbounded(), limit: limit.max(1), ended, common }
    }

    /// The first packet has come: what the engine's clock shows is known.
    pub(super) fn begin(&mut self, span: Span) {
        self.common.watch.span = Some(span);
    }

    /// Takes a segment.
    pub(super) fn take(&mut self, segment: &Segment<'_>, now: u64) -> Result<(), Skip> {
        let (pair, from) = Pair::of(segment);
        if segment.syn && !segment.rst {
            self.greet(pair, from, segment, now)?;
        } else if !self.followed.contains(&pair) {
            let old = self.ended.get(&pair).is_some_and(|remains| remains.cover(from, segment, now));
            // Of a connection that nothing else is known of, its end by a reset tells nothing.
            if old || segment.rst {
                return Err(Skip::AfterEnd);
            }
            self.follow(pair, Talk::join(pair), now);
        }
        let Some(talk) = self.followed.get_mut(&pair) else { return Ok(()) };
        let reset = talk.is_reset_by(from, segment);
        let accepted = talk.hear(from, segment, now, &mut self.common);
        if reset && accepted {
            self.end(&pair, Ending::Reset, now);
        } else if talk.is_over() {
            self.end(&pair, Ending::Farewell, now);
        }
        Ok(())
    }

    /// Takes a SYN: afterwards there is a connection that it belongs to.
    fn greet(&mut self, pair: Pair, from: End, segment: &Segment<'_>, now: u64) -> Result<(), Skip> {
        if segment.acknowledged.is_some() {
            self.common.listeners.learn(segment.from);
        }
        match self.followed.get_mut(&pair).map(|talk| talk.greet(from, segment)) {
            Some(Greeting::Own) => return Ok(()),
            Some(Greeting::Another) => self.end(&pair, Ending::Reused, now),
            None if self.ended.get(&pair).is_some_and(|remains| remains.cover(from, segment, now)) => {
                return Err(Skip::AfterEnd);
            }
            None => {}
        }
        let talk = Talk::begin(pair, from, segment, &mut self.common);
        self.follow(pair, talk, now);
        Ok(())
    }

    fn follow(&mut self, pair: Pair, talk: Talk, now: u64) {
        self.ended.pop(&pair);
        self.followed.put(pair, Box::new(talk));
        while self.followed.len() > self.limit
            && let Some((_, talk)) = self.followed.pop_lru()
        {
            talk.end(Ending::Evicted, now, &mut self.common);
        }
    }

    fn end(&mut self, pair: &Pair, ending: Ending, now: u64) {
        if let Some(talk) = self.followed.pop(pair) {
            let remains = talk.end(ending, now, &mut self.common);
            self.ended.put(*pair, remains);
        }
    }

    /// The capture is over: what it came to.
    pub(super) fn finish(mut self, now: u64) -> (Services, Watch) {
        while let Some((_, talk)) = self.followed.pop_lru() {
            talk.end(Ending::Cut, now, &mut self.common);
        }
        (self.common.services, self.common.watch)
    }
}
