extern crate std;

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    vec::Vec,
};

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Counts as the programs do.
#[derive(Default)]
struct Counted {
    young: Vec<[AtomicU64; SLOTS as usize]>,
    old: Vec<AtomicU64>,
}

impl Counted {
    fn new(cpus: usize) -> Self {
        let old = Old::default().slots.into_iter().map(AtomicU64::new).collect();
        Self { young: (0..cpus).map(|_| Default::default()).collect(), old }
    }

    fn with(requests: &[(u64, i32)]) -> Self {
        let counted = Self::new(1);
        for (started, count) in requests {
            counted.count(0, *started, *count);
        }
        counted
    }

    fn count(&self, cpu: usize, started: u64, requests: i32) {
        let mut change = Change { started, requests, level: 0 };
        while change.requests != 0 {
            let slot =
                if change.level == 0 { &self.young[cpu][change.young()] } else { &self.old[change.old()] };
            let found = slot.load(Ordering::SeqCst);
            let step = change.step(found);
            if slot.compare_exchange(found, step.slot, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                change = step.next;
            }
        }
    }

    fn oldest(&self, now: u64) -> Option<u64> {
        let read = |slot: &AtomicU64| slot.load(Ordering::SeqCst);
        let young: Vec<_> =
            self.young.iter().map(|slots| Young { slots: slots.each_ref().map(read) }).collect();
        let old = Old { slots: self.old.iter().map(read).collect::<Vec<_>>().try_into().expect("as many") };
        oldest(&young, &old, now)
    }

    #[track_caller]
    fn assert_age(&self, now: u64, age: u64) {
        let found = now - self.oldest(now).expect("something is in flight");
        let error = found.abs_diff(age);
        assert!(error * 8 <= age, "{found} ns instead of {age}, at {now}");
    }
}

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % limit
    }
}

#[test]
fn any_age_is_right_to_an_eighth() {
    let mut chance = Chance(1);
    let mut age = SECOND / 10;
    while age < REACH - REACH / 20 {
        for _ in 0..200 {
            let started = 10 * REACH + chance.below(REACH);
            let younger = (started + age - age / 3, 40);
            let counted = Counted::with(&[(started, 1), younger, (started + age, 7)]);
            counted.assert_age(started + age, age);
        }
        age += age / 9;
    }
}

#[test]
fn an_age_is_right_whatever_comes_and_goes_meanwhile() {
    let (mut chance, began) = (Chance(2), 3 * REACH + 12_345);
    let counted = Counted::with(&[(began, 1)]);
    let mut now = began;
    while now < began + 100 * SECOND {
        now += chance.below(SECOND / 50);
        counted.count(0, now, 2);
        counted.count(0, now, -2);
        if now > began + SECOND / 10 {
            counted.assert_age(now, now - began);
        }
    }
    counted.count(0, began, -1);
    assert_eq!(counted.oldest(now), None);
}

#[test]
fn what_is_older_than_all_slots_is_as_old_as_those_and_leaves_nothing() {
    let counted = Counted::with(&[(SECOND, 3), (SECOND + REACH / 2, 1)]);
    for turn in 1..4 {
        let now = SECOND + turn * REACH + REACH / 8;
        assert_eq!(counted.oldest(now), Some(now - REACH), "before anything else began");
        counted.count(0, now, 1);
        counted.count(0, now, -1);
        assert_eq!(counted.oldest(now), Some(now - REACH));
    }
    let now = SECOND + 4 * REACH;
    counted.count(0, SECOND, -3);
    assert_eq!(counted.oldest(now), Some(now - REACH));
    counted.count(0, SECOND + REACH / 2, -1);
    assert_eq!(counted.oldest(now), None);
    counted.count(0, now, 1);
    counted.assert_age(now + SECOND, SECOND);
}

#[test]
fn what_has_ended_is_not_in_flight() {
    let now = 50 * SECOND;
    let counted = Counted::with(&[(now - 9 * SECOND, 3), (now - SECOND, 2), (now - 9 * SECOND, -3)]);
    counted.assert_age(now, SECOND);
    assert_eq!(Counted::with(&[(now, 3), (now, -3)]).oldest(now), None);
    assert_eq!(Counted::new(4).oldest(now), None);
}

#[test]
fn cpus_are_added_whichever_of_them_saw_the_end() {
    let (now, counted) = (50 * SECOND, Counted::new(3));
    counted.count(0, now - 20 * SECOND, 5);
    counted.count(0, now - 2 * SECOND, 1);
    // Each of the others is in another turn.
    counted.count(1, now - 20 * SECOND, -3);
    counted.count(2, now - SECOND, 1);
    counted.count(2, now - 20 * SECOND, -2);
    counted.assert_age(now, 2 * SECOND);
}

#[test]
fn an_end_that_is_seen_without_its_beginning_is_nothing_older() {
    for slot in 0..SLOTS {
        let now = (1000 + slot) << FINEST;
        assert_eq!(Counted::with(&[(now, -2)]).oldest(now), None, "slot {slot}");
        Counted::with(&[(now, -2), (now - SECOND, 1)]).assert_age(now, SECOND);
    }
}

#[test]
fn a_million_in_flight_are_no_other_age() {
    let now = 500 * SECOND;
    Counted::with(&[(now - 400 * SECOND, 1_000_000), (now, 1_000_000)]).assert_age(now, 400 * SECOND);
}

#[test]
fn a_machine_that_has_just_started_has_no_slots_before_that() {
    assert_eq!(
        Counted::with(&[(SECOND, 1)]).oldest(SECOND),
        Some(SECOND - (SECOND % (1 << FINEST)).div_ceil(2))
    );
}

/// Several CPUs count at once, each with requests that another began, of which some wait for many turns.
#[test]
fn nothing_is_left_of_requests_that_began_and_ended_on_any_cpu() {
    const CPUS: usize = 4;
    const REQUESTS: u64 = 40_000;
    let (counted, mut chance) = (Counted::new(CPUS), Chance(3));
    let mut steps = Vec::new();
    for started in (0..REQUESTS).map(|number| SECOND + number * 5_000_000) {
        // From a millisecond to minutes.
        let most = 2 << (20 + chance.below(18));
        steps.extend([(started, started, 1), (started + chance.below(most), started, -1)]);
    }
    steps.sort_by_key(|(at, _, requests)| (*at, -requests));
    let (forever, taken) = (SECOND + REQUESTS * 2_500_000 + 1, AtomicUsize::new(0));
    counted.count(0, forever, 1);
    let barrier = Barrier::new(CPUS);
    thread::scope(|scope| {
        for cpu in 0..CPUS {
            let (counted, taken, steps, barrier) = (&counted, &taken, &steps, &barrier);
            scope.spawn(move || {
                barrier.wait();
                // Each thread takes the next step when it is free: a request begins and ends on any CPU, and out of turn.
                while let Some((_, started, requests)) = steps.get(taken.fetch_add(1, Ordering::SeqCst)) {
                    counted.count(cpu, *started, *requests);
                }
            });
        }
    });
    let now = steps.last().expect("there are steps").0;
    counted.assert_age(now, now - forever);
    counted.count(2, forever, -1);
    assert_eq!(counted.oldest(now), None);
    counted.count(3, now, 1);
    counted.assert_age(now + SECOND, SECOND);
}
