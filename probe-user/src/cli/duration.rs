//! Durations as they are typed: `500ms`, `1s`, `2m 30s`.

use std::time::Duration;

/// The duration that was typed.
pub(super) fn parse(typed: &str) -> Result<Duration, String> {
    humantime::parse_duration(typed).map_err(|_| {
        format!("`{typed}` is not a duration: write a number with its unit, such as 500ms, 1s or 2m")
    })
}

/// A duration as it would be typed.
pub(super) fn show(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_asked_for() {
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse("10").unwrap_err().contains("with its unit"));
    }
}
