//! What holds of every conversation.

use std::collections::BTreeMap;

use probe_common::{connection::Side, exchange::ABORTED};
use probe_fuzz::{
    conversation::Turn,
    reference,
    run::run,
    script::{Delivery, Script, encode},
};
use proptest::prelude::*;

use crate::{
    delivery::{Weather, converse, fates, setting},
    strategy::{Bodies, last, turn},
};

/// How often each kind of exchange was there.
fn tally(kinds: &[(&'static str, u16)]) -> BTreeMap<(&'static str, u16), usize> {
    let mut tally = BTreeMap::new();
    for kind in kinds {
        *tally.entry(*kind).or_default() += 1;
    }
    tally
}

fn truth(turns: &[Turn], last: Option<&(Turn, [Vec<u8>; 2])>) -> Vec<(&'static str, u16)> {
    turns.iter().chain(last.map(|(turn, _)| turn)).map(Turn::kind).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the segments are cut, and whatever comes again with other boundaries: every exchange, once, in its order.
    #[test]
    fn in_order_every_exchange_is_counted_once(
        turns in prop::collection::vec(turn(Bodies::Decoys), 0..12),
        last in last(Bodies::Decoys),
        depth in 1_usize..16,
        again in 0_u32..60,
        setting in setting(),
        mut fates in fates(),
    ) {
        let weather = Weather { again, late: 0, lost: 0 };
        let operations = converse(&turns, last.as_ref(), depth, weather, &mut fates);
        let script = Script::new(setting, &operations);
        let truth = truth(&turns, last.as_ref());
        prop_assert_eq!(reference::of_script(&script), Some(truth.clone()), "the reference");
        let counted = run(&script);
        prop_assert_eq!(counted.kinds(), truth, "the engine");
        prop_assert_eq!(counted.unmeasured, []);
        prop_assert_eq!(counted.fresh, [script.written[0].len() as u64, script.written[1].len() as u64]);
        prop_assert_eq!(Script::decode(&encode(setting, &operations)), script, "as bytes");
    }

    /// Segments that come late, and all come: what is not counted is told.
    #[test]
    fn out_of_order_what_is_not_counted_is_told(
        turns in prop::collection::vec(turn(Bodies::Plain), 1..12),
        last in last(Bodies::Plain),
        depth in 1_usize..16,
        late in 1_u32..40,
        setting in setting(),
        mut fates in fates(),
    ) {
        let weather = Weather { again: 10, late, lost: 0 };
        let operations = converse(&turns, last.as_ref(), depth, weather, &mut fates);
        hold_to(&Script::new(setting, &operations), &truth(&turns, last.as_ref()))?;
    }

    /// Segments that the probe never sees: nothing is counted twice or made up, and what is missing is told.
    #[test]
    fn with_segments_unseen_nothing_is_made_up(
        turns in prop::collection::vec(turn(Bodies::Plain), 1..12),
        last in last(Bodies::Plain),
        depth in 1_usize..16,
        lost in 1_u32..40,
        setting in setting(),
        mut fates in fates(),
    ) {
        let weather = Weather { again: 5, late: 5, lost };
        let operations = converse(&turns, last.as_ref(), depth, weather, &mut fates);
        hold_to(&Script::new(setting, &operations), &truth(&turns, last.as_ref()))?;
    }
}

/// Holds what was counted to what there was: no more exchanges than that, no more of any method; and where some are
/// missing, or came to another end, something was said. A connection of which the end was not seen may as well
/// have ended earlier.
fn hold_to(script: &Script, truth: &[(&'static str, u16)]) -> Result<(), TestCaseError> {
    let counted = run(script);
    let kinds = counted.kinds();
    let seen = trace(script);
    let by_method = |kinds: &[(&'static str, u16)]| {
        tally(&kinds.iter().map(|(method, _)| (*method, ABORTED)).collect::<Vec<_>>())
    };
    let asked = by_method(truth);
    for (method, count) in by_method(&kinds) {
        prop_assert!(
            asked.get(&method).is_some_and(|asked| count <= *asked),
            "{method:?}: {kinds:?} of {truth:?} with {:?}: {seen}",
            counted.unmeasured
        );
    }
    if tally(&kinds) != tally(truth) && seen_to_the_end(script) {
        prop_assert!(!counted.unmeasured.is_empty(), "untold: {kinds:?}, where there was {truth:?}: {seen}");
    }
    Ok(())
}

/// Whether the last byte that each side wrote was seen.
fn seen_to_the_end(script: &Script) -> bool {
    [Side::Request, Side::Response].into_iter().all(|side| {
        let written = script.written[side as usize].len();
        script
            .deliveries
            .iter()
            .filter(|delivery| delivery.side == side && !delivery.bytes.is_empty())
            .any(|delivery| offset(script, delivery) + delivery.bytes.len() == written)
    })
}

/// Where a segment begins in what its side wrote.
fn offset(script: &Script, delivery: &Delivery) -> usize {
    delivery.sequence.wrapping_sub(script.setting.first(delivery.side)) as usize
}

/// What was seen, to be read with a failure: `q` of the requests' stream, `a` of the answers', and where each segment
/// begins and ends in it.
fn trace(script: &Script) -> String {
    let segment = |delivery: &Delivery| {
        let side = ["q", "a"][delivery.side as usize];
        let from = offset(script, delivery);
        let start = delivery.bytes.iter().take(12).copied().collect::<Vec<_>>();
        format!("{side}{from}..{} {:?}", from + delivery.bytes.len(), start.escape_ascii().to_string())
    };
    script.deliveries.iter().map(segment).collect::<Vec<_>>().join(", ")
}
