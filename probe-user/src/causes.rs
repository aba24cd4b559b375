//! Errors with their causes, in one line.

use std::error::Error;

/// An error's words and those of its causes, but for causes that an earlier one has quoted already.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let inner = anyhow!("no such file");
        let outer = inner.context("cannot read it: no such file; look again").context("cannot start");
        assert_eq!(with_causes(&*outer), "cannot start: cannot read it: no such file; look again");
    }
}
