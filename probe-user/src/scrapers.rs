//! Who scrapes, and which figures each has been shown: what is gone for good may leave once nobody waits for it.
//!
//! A scraper is known by its address. Prometheus and all who scrape as it does say in each request how long they will wait;
//! where nobody does, whoever asks counts. So a page that is looked at by hand lets nothing go that a scraper has not had,
//! and keeps nothing for a scraper that is none.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// For how long a scraper is waited for, and what nobody asked for is kept: as long as Prometheus looks back for a sample.
/// Who scrapes more rarely has gaps in any case.
const PATIENCE: Duration = Duration::from_mins(5);

/// So many are known at most.
const MOST: usize = 64;

/// Those who have asked for the metrics of late.
#[derive(Debug, Default)]
pub struct Scrapers(Mutex<HashMap<IpAddr, Scraper>>);

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Scraper {
    /// Whether it says that it scrapes.
    announced: bool,
    /// When it asked last.
    asked: Instant,
    /// When the figures were taken that it was shown.
    shown: Instant,
}

/// Up to which moment figures have been shown: those that were taken later may have to be shown again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// To every scraper, or they were there for longer than any is waited for; none if that is not so of any figures.
    pub to_all: Option<Instant>,
    /// To one scraper at least, or likewise.
    pub to_any: Option<Instant>,
}

impl Scrapers {
    /// Notes that somebody has had the whole page, of figures that were taken at `shown`.
    pub fn note(&self, who: IpAddr, announced: bool, shown: Instant, now: Instant) {
        let mut known = self.known();
        forget_old(&mut known, now);
        known.insert(who, Scraper { announced, asked: now, shown });
        if known.len() > MOST {
            let longest = known.iter().min_by_key(|(_, scraper)| (scraper.announced, scraper.asked));
            if let Some(who) = longest.map(|(who, _)| *who) {
                known.remove(&who);
            }
        }
    }

    /// Whether somebody has had the whole page of late.
    #[must_use]
    pub fn know(&self, who: IpAddr, now: Instant) -> bool {
        self.known().get(&who).is_some_and(|scraper| now.saturating_duration_since(scraper.asked) < PATIENCE)
    }

    /// What has been shown until now.
    #[must_use]
    pub fn shown(&self, now: Instant) -> Shown {
        let mut known = self.known();
        forget_old(&mut known, now);
        let announced = known.values().any(|scraper| scraper.announced);
        let moments = || {
            let counting = known.values().filter(|scraper| scraper.announced == announced);
            counting.map(|scraper| scraper.shown)
        };
        let old = now.checked_sub(PATIENCE);
        Shown { to_all: moments().min().max(old), to_any: moments().max().max(old) }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IpAddr, Scraper>> {
        // It is whole whenever the lock is let go of.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_old(known: &mut HashMap<IpAddr, Scraper>, now: Instant) {
    known.retain(|_, scraper| now.saturating_duration_since(scraper.asked) < PATIENCE);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    /// A moment that is later than the machine's start by more than anything here.
    fn begin() -> Instant {
        Instant::now() + PATIENCE * 4
    }

    #[test]
    fn all_have_seen_what_the_slowest_has() {
        let (scrapers, begin) = (Scrapers::default(), begin());
        scrapers.note(address(1), true, begin + SECOND * 14, begin + SECOND * 15);
        scrapers.note(address(2), true, begin + SECOND * 7, begin + SECOND * 8);
        let shown = scrapers.shown(begin + SECOND * 16);
        assert_eq!(shown.to_all, Some(begin + SECOND * 7));
        assert_eq!(shown.to_any, Some(begin + SECOND * 14));
    }

    #[test]
    fn who_has_had_the_page_of_late_is_known() {
        let (scrapers, begin) = (Scrapers::default(), begin());
        scrapers.note(address(1), true, begin, begin);
        assert!(scrapers.know(address(1), begin + SECOND) && !scrapers.know(address(2), begin + SECOND));
        assert!(!scrapers.know(address(1), begin + PATIENCE));
    }

    #[test]
    fn who_stays_away_and_who_never_came_are_waited_for_a_while() {
        let (scrapers, begin) = (Scrapers::default(), begin());
        let nobody = scrapers.shown(begin);
        let old = begin.checked_sub(PATIENCE);
        assert!(old.is_some());
        assert_eq!(nobody, Shown { to_all: old, to_any: old });
        scrapers.note(address(1), true, begin, begin);
        scrapers.note(address(2), true, begin + PATIENCE / 2, begin + PATIENCE / 2);
        assert_eq!(scrapers.shown(begin + PATIENCE * 9 / 10).to_all, Some(begin), "it may come yet");
        assert_eq!(scrapers.shown(begin + PATIENCE).to_all, Some(begin + PATIENCE / 2), "it has gone");
    }

    #[test]
    fn a_look_by_hand_counts_where_nobody_scrapes() {
        let (scrapers, begin) = (Scrapers::default(), begin());
        scrapers.note(address(3), false, begin, begin);
        assert_eq!(scrapers.shown(begin + SECOND).to_all, Some(begin));
        scrapers.note(address(1), true, begin + SECOND, begin + SECOND);
        scrapers.note(address(3), false, begin + SECOND * 2, begin + SECOND * 2);
        let shown = scrapers.shown(begin + SECOND * 3);
        assert_eq!((shown.to_all, shown.to_any), (Some(begin + SECOND), Some(begin + SECOND)));
    }

    #[test]
    fn however_many_ask_those_who_scrape_stay_known() {
        let (scrapers, begin) = (Scrapers::default(), begin());
        scrapers.note(address(0), true, begin, begin);
        for number in 1..=200 {
            scrapers.note(address(number), false, begin + SECOND, begin + SECOND);
        }
        assert_eq!(scrapers.known().len(), MOST);
        assert_eq!(scrapers.shown(begin + SECOND).to_any, Some(begin));
    }
}
