//! The ring of requests that wait.

use super::*;

fn get(started: u64) -> Request {
    Request { started, method: Method::Get }
}

#[test]
fn a_wait_is_right_to_a_thousandth_for_half_an_hour() {
    for ns in [0, 1, 8_191] {
        assert_eq!(Wait::of(ns).nanoseconds(), ns);
    }
    let mut ns = 8_192_u64;
    while ns < 1_800_000_000_000 {
        let kept = Wait::of(ns).nanoseconds();
        assert!(kept.abs_diff(ns) <= ns / 900, "{ns} becomes {kept}");
        ns += ns / 7 + 1;
    }
    assert!(Wait::of(u64::MAX - 8).nanoseconds() > 1_800_000_000_000);
}

#[test]
fn a_time_is_whole_however_long_the_machine_has_run() {
    for started in [0, 1, 7 << 50, (1 << 52) - 1, 1 << 52, (1 << 61) + 12_345, u64::MAX - (1 << 51)] {
        let mut pending = Pending::default();
        assert_eq!(pending.push(get(started)), Place::Own);
        pending.route_last(u8::MAX);
        for age in [0, 1, 1_000_000_000, 25 * 86_400_000_000_000] {
            assert_eq!(pending.oldest(started + age), Some(started), "{started} after {age}");
            assert_eq!(pending.first(started + age), Some(get(started)), "{started} after {age}");
        }
        // A clock that went back: of a capture.
        assert_eq!(pending.oldest(started.saturating_sub(1_000)), Some(started));
    }
}

#[test]
fn each_request_is_unread_until_the_reading_that_follows_it() {
    let mut pending = Pending::default();
    assert_eq!(pending.push(get(100)), Place::Own);
    assert_eq!(pending.unread_for(), u64::MAX);
    pending.note_read(130);
    assert_eq!((pending.push(get(140)), pending.push(get(150))), (Place::Own, Place::Own));
    pending.note_read(170);
    pending.note_read(999);
    for wait in [30, 30, 20] {
        assert_eq!(pending.unread_for(), wait);
        pending.pop(0);
    }
    assert_eq!(pending.unread_for(), u64::MAX);
}

#[test]
fn what_was_answered_unread_is_not_read_later() {
    let mut pending = Pending::default();
    for i in 0..100 {
        assert_eq!(pending.push(get(i)), Place::Own);
        pending.pop(0);
    }
    assert_eq!(pending.push(get(200)), Place::Own);
    pending.note_read(207);
    assert_eq!(pending.unread_for(), 7);
}

#[test]
fn each_request_keeps_its_route() {
    let mut pending = Pending::default();
    for route in 0..100 {
        assert_eq!(pending.push(get(1)), Place::Own);
        pending.route_last(route);
        if route >= 20 {
            pending.pop(0);
            assert_eq!(pending.route_of_removed(), route - 20);
        }
    }
}

/// 64 in each of five writes, or each in its own: all are counted, in their order.
#[test]
fn any_number_may_wait() {
    for together in [1, 64] {
        let mut pending = Pending::default();
        for i in 0..320 {
            let place = pending.push(get(i / together));
            let own = i / together < u64::from(DEPTH);
            assert_eq!(place, if own { Place::Own } else { Place::Shared }, "{i} by {together}");
        }
        for i in 0..320 {
            let started = (i / together).min(u64::from(DEPTH) - 1);
            assert_eq!(pending.first(0), Some(get(started)), "{i} by {together}");
            pending.pop(started);
        }
        assert_eq!((pending.waiting(), pending.first(0)), (0, None));
        assert_eq!(pending.push(get(999)), Place::Own);
        assert_eq!(pending.first(999), Some(get(999)));
    }
}

#[test]
fn a_ring_that_goes_round_keeps_each_request() {
    let mut pending = Pending::default();
    let (mut asked, mut answered) = (0, 0);
    for round in 0..70_000_u64 {
        for _ in 0..round % 4 {
            assert_eq!(pending.push(get(asked)), Place::Own);
            asked += 1;
        }
        let answers = if round % 16 == 15 { asked - answered } else { (round % 3).min(asked - answered) };
        for _ in 0..answers {
            assert_eq!(pending.first(answered), Some(get(answered)));
            pending.pop(answered);
            answered += 1;
        }
    }
}

#[test]
fn more_than_may_wait_are_refused() {
    let mut pending = Pending::default();
    for _ in 0..MOST {
        assert_ne!(pending.push(get(7)), Place::None);
    }
    assert_eq!(pending.push(get(7)), Place::None);
    (0..MOST).for_each(|_| pending.pop(7));
    assert_eq!((pending.waiting(), pending.push(get(8))), (0, Place::Own));
}

#[test]
fn requests_that_came_together_have_a_slot_for_each_route() {
    let mut pending = Pending::default();
    for route in [3, 3, 5, 5, 3] {
        assert_eq!(pending.push(get(1)), Place::Own);
        pending.route_last(route);
    }
    assert_eq!(pending.pushed, 3);
    for route in [3, 3, 5, 5, 3] {
        pending.pop(1);
        assert_eq!(pending.route_of_removed(), route);
    }
}
