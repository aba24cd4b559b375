//! Quantiles of durations.

use proptest::prelude::*;

use super::{
    only, replayed,
    wire::{GET, MS, OK, Wire},
};

/// The quantiles of a capture of requests that take so long, in nanoseconds.
fn quantiles(durations: &[u64]) -> [f64; 3] {
    let mut wire = Wire::open();
    for duration in durations {
        wire.ask(GET).wait(*duration).answer(OK).wait(MS);
    }
    wire.close();
    let report = replayed(&wire.packets);
    let latency = &only(&report).duration;
    [latency.p50_seconds, latency.p95_seconds, latency.p99_seconds].map(Option::unwrap)
}

/// 5 ms lie near the lower edge of their bucket, the middle of which is 5.2 ms.
#[test]
fn durations_that_are_all_the_same_have_that_for_every_quantile() {
    for ns in (48 * MS..54 * MS).step_by(100_000) {
        for count in [1, 10] {
            for quantile in quantiles(&vec![ns; count]) {
                assert!((quantile - ns as f64 / 1e9).abs() < 1e-12, "{quantile} for {ns}");
            }
        }
    }
    // Longer than what the kernel tells apart.
    let hours = 2 * 3_600_000 * MS;
    for quantile in quantiles(&[hours]) {
        assert!((quantile - hours as f64 / 1e9).abs() < 1e-6, "{quantile}");
    }
}

proptest! {
    #[test]
    fn no_quantile_lies_outside_what_was_seen(durations in prop::collection::vec(0..100 * MS, 1..20)) {
        let [least, most] = [durations.iter().min(), durations.iter().max()].map(|ns| *ns.unwrap() as f64 / 1e9);
        let [p50, p95, p99] = quantiles(&durations);
        prop_assert!(least <= p50 && p50 <= p95 && p95 <= p99 && p99 <= most, "{least} {p50} {p95} {p99} {most}");
    }
}
