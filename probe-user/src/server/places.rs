//! Places for connections: a limited number, of which those that wait for their client give way to new ones.
//!
//! So clients that connect and say nothing, however many, keep nobody out: a scraper sends its request at once, and is
//! never the one that has waited longest.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    /// None while a request of its is worked on.
    waiting_since: Option<Instant>,
    leave: Arc<Notify>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    places: Arc<Places>,
    number: u64,
    leave: Arc<Notify>,
}

impl Places {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: Mutex::default() })
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// A place for a new connection; none if a request is worked on at each.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let mut taken = self.taken();
        if taken.seats.len() >= self.limit {
            let longest = taken
                .seats
                .iter()
                .filter_map(|(number, holder)| Some((holder.waiting_since?, *number)))
                .min()?;
            if let Some(holder) = taken.seats.remove(&longest.1) {
                holder.leave.notify_one();
            }
        }
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        let holder = Holder { waiting_since: Some(Instant::now()), leave: Arc::clone(&leave) };
        taken.seats.insert(number, holder);
        Some(Seat { places: Arc::clone(self), number, leave })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // It is whole whenever the lock is let go of.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A request is worked on from now on.
    pub(super) fn is_busy(&self) {
        self.since(None);
    }

    /// It is the client's turn from now on.
    pub(super) fn is_waiting(&self) {
        self.since(Some(Instant::now()));
    }

    fn since(&self, waiting_since: Option<Instant>) {
        // One that was told to leave has no entry any more.
        if let Some(holder) = self.places.taken().seats.get_mut(&self.number) {
            holder.waiting_since = waiting_since;
        }
    }

    /// Waits until another connection needs the place.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.taken().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn must_leave(seat: &Seat) -> bool {
        seat.is_needed().now_or_never().is_some()
    }

    #[test]
    fn who_waits_longest_gives_way() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        first.is_busy();
        let _fourth = places.take().unwrap();
        assert!(!must_leave(&first) && must_leave(&second) && !must_leave(&third));
        first.is_waiting();
        third.is_busy();
        let fifth = places.take().unwrap();
        assert!(!must_leave(&fifth) && !must_leave(&third));
    }

    #[test]
    fn who_works_stays() {
        let places = Places::new(2);
        let [first, second] = [(); 2].map(|()| places.take().unwrap());
        first.is_busy();
        second.is_busy();
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }
}
