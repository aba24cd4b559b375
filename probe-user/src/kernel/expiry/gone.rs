//! Services of pods that are gone: nobody comes by their names again. Where more than half of the table of services is
//! taken, they leave it as soon as all who scrape have been shown what they did, those that ended first before the others.

use std::time::Instant;

use probe_common::service::{OTHER, ServiceEntry, ServiceKey};

use super::{Expiry, Leaving};
use crate::{attribution::Attribution, scrapers::Shown};

/// How full the table of services is.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernel) struct Filling {
    /// Entries, with those of services that have no name yet.
    pub(in crate::kernel) entries: u64,
    /// Of so many.
    pub(in crate::kernel) capacity: u64,
}

impl Filling {
    /// Up to which moment what was counted has been shown to as many scrapers as there is room to wait for; none while
    /// there is room for all.
    fn shown(self, shown: Shown) -> Option<Instant> {
        if self.exceeds(7, 8) {
            return shown.to_any;
        }
        shown.to_all.filter(|_| self.exceeds(1, 2))
    }

    /// How many are to leave, so that it is a while until others have to.
    const fn surplus(self) -> u64 {
        self.entries.saturating_sub(self.capacity / 8 * 3)
    }

    const fn exceeds(self, parts: u64, of: u64) -> bool {
        self.entries * of > self.capacity * parts
    }
}

impl Expiry {
    /// Finds those whose pods are gone, as many as the table has too many of: they go the way that idle ones do.
    pub(super) fn let_gone_leave(&mut self, leaving: &Leaving<'_>, attribution: &Attribution) {
        let Leaving { keys, filling, shown, .. } = leaving;
        let Some(shown) = filling.shown(*shown).filter(|_| self.removes()) else { return };
        // A program may have been at work while the pass that saw the last change went by: what it did is in the next one.
        let is_shown = |(index, key): (&u32, &(ServiceKey, ServiceEntry))| {
            let since = self.idleness.at_rest_since(*index).filter(|since| *since < shown)?;
            Some((since, *index, key.0))
        };
        let mut at_rest: Vec<_> =
            keys.iter().filter(|(index, _)| **index != OTHER).filter_map(is_shown).collect();
        at_rest.sort_unstable_by_key(|(since, index, _)| (*since, *index));
        let leaving = keys.keys().filter(|index| self.idleness.may_leave(**index)).count();
        let wanted = usize::try_from(filling.surplus()).unwrap_or(usize::MAX).saturating_sub(leaving);
        let gone = at_rest.into_iter().filter(|(_, _, key)| attribution.is_gone(key)).take(wanted);
        gone.for_each(|(_, index, _)| self.idleness.let_leave(index));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_fuller_it_is_the_fewer_are_waited_for() {
        let to_any = Instant::now();
        let shown = Shown { to_all: to_any.checked_sub(Duration::from_secs(9)), to_any: Some(to_any) };
        let filled = |entries| Filling { entries, capacity: 512 };
        assert_eq!(filled(256).shown(shown), None, "there is room");
        assert_eq!(filled(257).shown(shown), shown.to_all);
        assert_eq!(filled(448).shown(shown), shown.to_all);
        assert_eq!(filled(449).shown(shown), shown.to_any);
        assert_eq!((filled(257).surplus(), filled(10).surplus()), (65, 0));
    }
}
