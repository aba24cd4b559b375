//! Which tests run for too long, by what libtest says while they run.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

/// libtest names a test once it has run for this long.
const NAMED_AFTER: Duration = Duration::from_mins(1);

/// What libtest says of it then, behind its name.
const NAMED: &str = " has been running for over 60 seconds";

/// Follows what a program of tests says.
pub(crate) struct Watch {
    limit: Duration,
    /// When those began that libtest has called slow, and that have not ended.
    slow: BTreeMap<String, Instant>,
    /// When anything was said last.
    heard: Instant,
    /// A line that has no end yet. Where tests run one by one, it names the one that runs.
    line: Vec<u8>,
}

impl Watch {
    /// Each test may run for so long.
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, slow: BTreeMap::new(), heard: now, line: Vec::new() }
    }

    /// Takes what was said, in pieces of any length.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.heard = now;
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.hear_line(&String::from_utf8_lossy(&line), now);
        }
    }

    fn hear_line(&mut self, line: &str, now: Instant) {
        let Some(rest) = line.trim_end().strip_prefix("test ") else { return };
        if let Some(name) = rest.strip_suffix(NAMED) {
            self.slow.insert(name.to_owned(), now.checked_sub(NAMED_AFTER).unwrap_or(now));
        } else if let Some((name, _)) = rest.split_once(" ... ") {
            self.slow.remove(name);
        }
    }

    /// Whether a test has run for too long: a sentence that names it.
    ///
    /// libtest names no slow test where it runs them one by one; there, the program says nothing at all meanwhile.
    pub(crate) fn overdue(&self, now: Instant) -> Option<String> {
        let limit = self.limit.as_secs();
        let too_long = |began: Instant| now.duration_since(began) >= self.limit;
        let hanging: Vec<_> = self.slow.iter().filter(|(_, began)| too_long(**began)).collect();
        if !hanging.is_empty() {
            let names: Vec<_> = hanging.iter().map(|(name, _)| format!("`{name}`")).collect();
            let mut said = format!(
                "{} did not end within {limit} s, which is all that a test may take, so its program was ended: the tests that \
                 had not run by then did not run",
                names.join(" and ")
            );
            for name in self.slow.keys().filter(|name| !hanging.iter().any(|(other, _)| other == name)) {
                let _ = write!(said, "; `{name}` was running too");
            }
            return Some(said);
        }
        (now.duration_since(self.heard) >= self.limit + NAMED_AFTER).then(|| {
            let last = String::from_utf8_lossy(&self.line);
            format!(
                "the tests said nothing for {} s, so their program was ended; what they said last is `{}`",
                now.duration_since(self.heard).as_secs(),
                last.trim()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(5);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_test_that_hangs_is_named_at_the_limit() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMIT, start);
        watch.hear(b"running 3 tests\ntest quick ... ok <0.1s>\n", after(start, 1));
        let slow =
            b"test a::hangs has been running for over 60 seconds\ntest b has been running for over 60 sec";
        watch.hear(slow, after(start, 60));
        watch.hear(b"onds\n", after(start, 90));
        assert_eq!(watch.overdue(after(start, 299)), None);
        let said = watch.overdue(after(start, 300)).unwrap();
        assert!(said.starts_with("`a::hangs` did not end within 300 s"), "{said}");
        assert!(said.ends_with("`b` was running too"), "{said}");
        watch.hear(b"test a::hangs ... ok <299.1s>\n", after(start, 299));
        assert_eq!(watch.overdue(after(start, 329)), None, "b began after 30 s");
        assert!(watch.overdue(after(start, 330)).is_some());
    }

    #[test]
    fn where_tests_run_one_by_one_silence_tells() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMIT, start);
        watch.hear(b"test first ... ok\ntest second ... ", after(start, 10));
        assert_eq!(watch.overdue(after(start, 369)), None);
        let said = watch.overdue(after(start, 370)).unwrap();
        assert!(said.contains("`test second ...`"), "{said}");
    }

    #[test]
    fn a_test_may_take_a_while() {
        let start = Instant::now();
        let mut watch = Watch::new(LIMIT, start);
        for minute in 1..100 {
            let name = format!(
                "test t{minute} has been running for over 60 seconds\ntest t{minute} ... ok <61.0s>\n"
            );
            watch.hear(name.as_bytes(), after(start, minute * 61));
            assert_eq!(watch.overdue(after(start, minute * 61 + 1)), None);
        }
    }
}
