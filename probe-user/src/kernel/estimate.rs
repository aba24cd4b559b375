//! From the registers of a sketch to the number of distinct clients in it.

use probe_common::sketch::{REGISTERS, Sketch};

/// The largest value of a register, and one: those of 64 bits of hash, less the 11 that choose the register.
const RANKS: usize = 55;

/// The number of distinct clients: right to within 2.3 % (one standard error) whatever it is, and next to exact for a few
/// hundred. Otmar Ertl's improved estimator ("New cardinality estimation algorithms for `HyperLogLog` sketches", 2017,
/// section 4), which needs no tables and no switching between ranges.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not below zero, and 64 bits of hash tell no more clients apart than that"
)]
pub(super) fn distinct(sketch: &Sketch) -> u64 {
    estimate(sketch).round() as u64
}

fn estimate(sketch: &Sketch) -> f64 {
    let mut with_rank = [0.0; RANKS];
    for register in sketch.registers {
        with_rank[usize::from(register).min(RANKS - 1)] += 1.0;
    }
    let all = REGISTERS as f64;
    let mut z = all * tau(1.0 - with_rank[RANKS - 1] / all);
    for count in with_rank[1..RANKS - 1].iter().rev() {
        z = 0.5 * (z + count);
    }
    z += all * sigma(with_rank[0] / all);
    all * all / (2.0 * std::f64::consts::LN_2 * z)
}

/// What the empty registers tell.
fn sigma(part: f64) -> f64 {
    if part >= 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (part, 1.0, part);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum <= before {
            return sum;
        }
    }
}

/// What the full registers tell.
fn tau(part: f64) -> f64 {
    if part <= 0.0 || part >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (part, 1.0, 1.0 - part);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root).powi(2) * weight;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::user::{ClientKey, mapped};

    use super::*;

    fn sketch(addresses: impl Iterator<Item = [u8; 16]>) -> Sketch {
        let mut sketch = Sketch::default();
        addresses.for_each(|address| sketch.add(&ClientKey { address, service: 0 }));
        sketch
    }

    fn ipv4(count: u32) -> impl Iterator<Item = [u8; 16]> {
        (0..count).map(|i| mapped((0x0a00_0000 + i).to_be_bytes()))
    }

    /// The bound that is stated: 7 % is three standard errors.
    #[track_caller]
    fn assert_close(sketch: &Sketch, truth: f64) {
        let estimate = estimate(sketch);
        assert!((estimate / truth - 1.0).abs() < 0.07, "{estimate} for {truth}");
    }

    #[test]
    fn any_number_of_clients_is_estimated_within_the_bound() {
        for count in [1, 10, 100, 1_000, 3_000, 10_000, 100_000, 1_000_000] {
            assert_close(&sketch(ipv4(count)), f64::from(count));
        }
        let prefixes = (0..200_000_u64).map(|i| {
            let mut address = [0; 16];
            address[..8].copy_from_slice(&(0x2001_0db8_0000_0000 + i).to_be_bytes());
            address
        });
        assert_close(&sketch(prefixes), 200_000.0);
    }

    #[test]
    fn a_few_are_next_to_exact_and_none_are_none() {
        assert_eq!(distinct(&Sketch::default()), 0);
        for count in [1, 5, 50] {
            assert!(
                (estimate(&sketch(ipv4(count))) - f64::from(count)).abs() < 0.03 * f64::from(count) + 0.1
            );
        }
    }

    #[test]
    fn a_client_that_comes_again_and_in_another_part_of_the_window_is_one() {
        let mut twice = sketch(ipv4(5_000).chain(ipv4(5_000)));
        assert_eq!(twice, sketch(ipv4(5_000)));
        twice.merge(&sketch(ipv4(10_000).skip(4_000)));
        assert_eq!(twice, sketch(ipv4(10_000)));
    }
}
