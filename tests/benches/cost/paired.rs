//! Figures of several rounds, and whether two conditions differ by more than noise.

use std::fmt;

/// The middle of some figures, and where their middle half lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of the figures of all rounds; none of no figures.
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.iter().copied().filter(|figure| figure.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |part: f64| {
            let place = part * last as f64;
            let (below, share) = (place.floor(), place.fract());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
            let below = below as usize;
            sorted[below] + share * (sorted[(below + 1).min(last)] - sorted[below])
        };
        Some(Self { median: at(0.5), low: at(0.25), high: at(0.75) })
    }
}

/// One condition against another, round by round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Comparison {
    /// The quotients.
    pub(crate) ratio: Spread,
    /// Whether they lie on one side of 1 more often than chance has it.
    pub(crate) told: bool,
}

/// How likely chance may be for a difference to be accepted: with it, five rounds must all agree, and of eight or more
/// one may not.
const CHANCE: f64 = 0.1;

impl Comparison {
    /// Of the figures of the same rounds; none of no figures.
    pub(crate) fn of(figures: &[f64], against: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = figures.iter().zip(against).map(|(figure, other)| figure / other).collect();
        let above = ratios.iter().filter(|ratio| **ratio > 1.0).count();
        let below = ratios.iter().filter(|ratio| **ratio < 1.0).count();
        Some(Self { ratio: Spread::of(&ratios)?, told: by_chance(above, below) <= CHANCE })
    }
}

/// How likely it is that coins fall so unevenly or more so: the sign test, two-sided.
fn by_chance(heads: usize, tails: usize) -> f64 {
    let (few, all) = (heads.min(tails), heads + tails);
    let mut ways = 1.0;
    let mut sum = 0.0;
    for chosen in 0..=few {
        sum += ways;
        ways *= (all - chosen) as f64 / (chosen + 1) as f64;
    }
    (2.0 * sum / (all as f64).exp2()).min(1.0)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, low, high } = self.ratio;
        if self.told {
            write!(f, "{median:.3} ({low:.3}-{high:.3})")
        } else {
            write!(f, "noise ({low:.3}-{high:.3})")
        }
    }
}
