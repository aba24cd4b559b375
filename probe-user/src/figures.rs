//! Figures as people read them.

/// Digits in groups of three.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut result = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            result.push(',');
        }
        result.push(digit);
    }
    result
}

/// A duration in the unit that fits it.
#[must_use]
pub fn duration(seconds: f64) -> String {
    const UNITS: [(f64, &str); 2] = [(1.0, "s"), (1e-3, "ms")];
    UNITS.iter().find(|(size, _)| seconds >= *size).map_or_else(
        || format!("{:.0} µs", seconds * 1e6),
        |(size, unit)| format!("{:.1} {unit}", seconds / size),
    )
}

/// A rate: with a decimal while it is small.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        grouped(whole(per_second))
    }
}

/// Bits per second in the unit that fits them.
#[must_use]
pub fn bits(per_second: f64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")];
    UNITS.iter().find(|(size, _)| per_second >= *size).map_or_else(
        || format!("{per_second:.0} bit/s"),
        |(size, unit)| format!("{:.1} {unit}", per_second / size),
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and the cast saturates"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.25, 9.94, 999.6, 1_234_567.0].map(rate),
            ["0", "0.2", "9.9", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 512.0, 12.34e6, 2e9].map(bits),
            ["0 bit/s", "512 bit/s", "12.3 Mbit/s", "2.0 Gbit/s"]
        );
        assert_eq!([5e-5, 0.0123, 2.0].map(duration), ["50 µs", "12.3 ms", "2.0 s"]);
    }
}
