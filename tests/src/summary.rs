//! Durations that a client measured, summed up in the same way as by any load generator.

use std::time::Duration;

/// The nearest-rank quantile in seconds: the smallest duration that the fraction of all does not exceed; 0 for none.
#[must_use]
pub fn quantile(durations: &[Duration], fraction: f64) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let below =
        sorted.iter().enumerate().find(|(index, _)| (index + 1) as f64 >= fraction * sorted.len() as f64);
    below.map_or(0.0, |(_, duration)| duration.as_secs_f64())
}

/// The mean, in seconds.
#[must_use]
pub fn average(durations: &[Duration]) -> f64 {
    durations.iter().sum::<Duration>().as_secs_f64() / durations.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let durations: Vec<_> = (1..=100).map(Duration::from_secs).collect();
        for (fraction, seconds) in [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0)] {
            assert!((quantile(&durations, fraction) - seconds).abs() < 1e-9);
        }
        assert!((average(&durations) - 50.5).abs() < 1e-9);
    }
}
