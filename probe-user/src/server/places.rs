//! Places for connections: a limited number, of which those that wait for their client give way to new ones.
//!
//! So clients that connect and say nothing, however many, keep nobody out: a scraper sends its request at once, and is
//! never the one that has waited longest. Those that ask and then do not take their answer give way as well, the slowest first: to
//! new ones where no place is left, and to each other where the answers that wait for them come to too many bytes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

/// Bytes of answers that may wait for clients, all of them together. Beyond that the slowest is dropped.
const BACKLOG: usize = 32 << 20;

/// What a client that stopped taking its answer a moment ago counts as having taken since: else it would seem slower than one that
/// took next to nothing for seconds.
const CREDIT: f64 = 65_536.0;

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
    /// Bytes that wait for clients, of all seats.
    backlog: usize,
}

#[derive(Debug)]
struct Holder {
    /// None while a request of its is worked on.
    waiting_since: Option<Instant>,
    taking: Taking,
    leave: Arc<Notify>,
}

/// How a client takes its answers.
#[derive(Debug, Default)]
struct Taking {
    /// Bytes that are there for it.
    backlog: usize,
    /// It takes nothing at this moment.
    is_stuck: bool,
    /// When it did so first in this answer, and what it has taken since.
    slow: Option<(Instant, usize)>,
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

    /// A place for a new connection; none if a request is worked on at each, and every client takes its answer.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let mut taken = self.taken();
        if taken.seats.len() >= self.limit {
            let leaving = taken.longest_waiting().or_else(|| taken.slowest(Instant::now()))?;
            taken.send_away(leaving);
        }
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        let holder = Holder {
            waiting_since: Some(Instant::now()),
            taking: Taking::default(),
            leave: Arc::clone(&leave),
        };
        taken.seats.insert(number, holder);
        Some(Seat { places: Arc::clone(self), number, leave })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // It is whole whenever the lock is let go of.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn longest_waiting(&self) -> Option<u64> {
        let waiting = self.seats.iter();
        let waiting = waiting.filter_map(|(number, holder)| Some((holder.waiting_since?, *number)));
        waiting.min().map(|(_, number)| number)
    }

    /// Of those that take nothing at this moment, the one that took least since it was so first.
    fn slowest(&self, now: Instant) -> Option<u64> {
        let stuck = self.seats.iter().filter(|(_, holder)| holder.taking.is_stuck);
        let rates = stuck.filter_map(|(number, holder)| Some((holder.taking.rate(now)?, *number)));
        rates.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, number)| number)
    }

    fn send_away(&mut self, number: u64) {
        if let Some(holder) = self.seats.remove(&number) {
            self.backlog -= holder.taking.backlog;
            holder.leave.notify_one();
        }
    }
}

impl Taking {
    /// Bytes a second since it was stuck first.
    fn rate(&self, now: Instant) -> Option<f64> {
        let (since, taken) = self.slow?;
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "it is compared with others")]
        let taken = taken as f64;
        Some((taken + CREDIT) / seconds)
    }
}

impl Seat {
    /// A request is worked on from now on.
    pub(super) fn is_busy(&self) {
        self.change(|holder, _| {
            holder.waiting_since = None;
            holder.taking.slow = None;
        });
    }

    /// It is the client's turn from now on.
    pub(super) fn is_waiting(&self) {
        self.change(|holder, _| holder.waiting_since = Some(Instant::now()));
    }

    /// So many bytes more are there for the client. If that is too much for all clients together, the slowest has to leave.
    pub(super) fn owes(&self, bytes: usize) {
        self.change(|holder, backlog| {
            holder.taking.backlog += bytes;
            *backlog += bytes;
        });
        let mut taken = self.places.taken();
        while taken.backlog > BACKLOG {
            let Some(slowest) = taken.slowest(Instant::now()) else { return };
            taken.send_away(slowest);
        }
    }

    /// The client takes so many bytes.
    pub(super) fn takes(&self, bytes: usize) {
        self.change(|holder, backlog| {
            let taking = &mut holder.taking;
            // Heads of answers are beyond what it is owed.
            let owed = bytes.min(taking.backlog);
            taking.backlog -= owed;
            *backlog -= owed;
            taking.is_stuck = false;
            if let Some((_, taken)) = &mut taking.slow {
                *taken += bytes;
            }
        });
    }

    /// The client takes nothing of what is there.
    pub(super) fn is_stuck(&self) {
        self.change(|holder, _| {
            holder.taking.is_stuck = true;
            holder.taking.slow.get_or_insert_with(|| (Instant::now(), 0));
        });
    }

    fn change(&self, change: impl FnOnce(&mut Holder, &mut usize)) {
        let mut taken = self.places.taken();
        let Taken { seats, backlog, .. } = &mut *taken;
        // One that was told to leave has no entry any more.
        if let Some(holder) = seats.get_mut(&self.number) {
            change(holder, backlog);
        }
    }

    /// Waits until another connection needs the place.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(holder) = taken.seats.remove(&self.number) {
            taken.backlog -= holder.taking.backlog;
        }
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
    fn the_slowest_gives_way_where_all_have_asked() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        for seat in [&first, &second, &third] {
            seat.is_busy();
        }
        second.is_stuck();
        first.is_stuck();
        first.takes(1 << 20);
        first.is_stuck();
        let fourth = places.take().unwrap();
        assert!(!must_leave(&first) && must_leave(&second) && !must_leave(&third), "the second took nothing");
        fourth.is_busy();
        assert!(places.take().is_some() && must_leave(&first), "it is stuck, too");
        assert!(!must_leave(&third));
    }

    #[test]
    fn answers_that_nobody_takes_are_bounded() {
        const PAGE: usize = 1 << 20;
        let places = Places::new(256);
        let seats: Vec<_> = (0..100).map(|_| places.take().unwrap()).collect();
        for seat in &seats {
            seat.is_busy();
            seat.is_stuck();
            seat.owes(PAGE);
        }
        let left = seats.iter().filter(|seat| must_leave(seat)).count();
        assert_eq!(left, 100 - BACKLOG / PAGE);
        assert!(places.taken().backlog <= BACKLOG);
        drop(seats);
        assert_eq!(places.taken().backlog, 0);
    }

    #[test]
    fn who_takes_what_there_is_stays_however_much_it_is() {
        let places = Places::new(2);
        let seat = places.take().unwrap();
        seat.is_busy();
        for _ in 0..100 {
            seat.owes(1 << 20);
            seat.takes(1 << 20);
        }
        seat.owes(BACKLOG * 2);
        assert!(!must_leave(&seat), "it is not stuck");
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
