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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([5e-5, 0.0123, 2.0].map(duration), ["50 µs", "12.3 ms", "2.0 s"]);
    }
}
