//! What a run of tests leaves to be told at its end: how long each test took, and cargo's closing line.

use std::{
    fmt::{self, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};

/// How many of the slowest tests are told.
const SLOWEST: usize = 20;

/// Filled by several runs at the same time.
#[derive(Default)]
pub(crate) struct Record(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// The ring, the test (with a virtual machine's tag before it), and its time.
    tests: Vec<(String, String, Duration)>,
    closing: String,
}

impl Record {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line of libtest's, which may begin with the tag of a virtual machine. Only a test's line with a time matters.
    pub(crate) fn hear(&self, ring: &str, line: &str) {
        if let Some((name, time)) = timed(line) {
            self.noted().tests.push((ring.to_owned(), name, time));
        }
    }

    /// Takes the line with which libtest closes. The one before it is shown now: only the last has to wait, so that it ends all
    /// that is said.
    pub(crate) fn close(&self, said: String) {
        let before = std::mem::replace(&mut self.noted().closing, said);
        print!("{before}");
    }

    /// What is to be said at the very end.
    pub(crate) fn closing(&self) -> String {
        std::mem::take(&mut self.noted().closing)
    }

    /// Fails unless each of these tests of a ring ran: one that was given another name would otherwise be left out without a word.
    pub(crate) fn demand(&self, ring: impl fmt::Display, tag: &str, tests: &[&str]) -> Result<()> {
        let (ring, noted) = (ring.to_string(), self.noted());
        let ran = |test: &str| {
            noted.tests.iter().any(|(of, name, _)| *of == ring && name.strip_prefix(tag) == Some(test))
        };
        let missing: Vec<_> = tests.iter().filter(|test| !ran(test)).copied().collect();
        ensure!(
            missing.is_empty(),
            "the ring `{ring}` has tests in its list (xtask/src/test/{ring}.rs) that are not there any more: {}",
            missing.join(", ")
        );
        Ok(())
    }

    /// How long a test of a ring took, if it ran.
    pub(crate) fn time(&self, ring: impl fmt::Display, test: &str) -> Option<Duration> {
        let ring = ring.to_string();
        let noted = self.noted();
        noted.tests.iter().find(|(of, name, _)| *of == ring && name == test).map(|(_, _, time)| *time)
    }

    /// A table of the slowest tests.
    pub(crate) fn slowest(&self) -> String {
        let mut noted = self.noted();
        noted.tests.sort_by_key(|(_, _, time)| std::cmp::Reverse(*time));
        let mut table = String::new();
        for (ring, name, time) in noted.tests.iter().take(SLOWEST) {
            let _ = writeln!(table, "  {:>7.1} s  {ring:<10} {name}", time.as_secs_f64());
        }
        table
    }
}

/// The test and its time, of a line such as `6.1: test a::b ... ok <1.234s>`.
fn timed(line: &str) -> Option<(String, Duration)> {
    let (tag, rest) = match line.split_once("test ") {
        Some((tag, rest)) if tag.is_empty() || tag.ends_with(": ") => (tag, rest),
        _ => return None,
    };
    let (name, outcome) = rest.split_once(" ... ")?;
    let (_, time) = outcome.trim_end().strip_suffix("s>")?.rsplit_once('<')?;
    let time = Duration::try_from_secs_f64(time.parse().ok()?).ok()?;
    Some((format!("{tag}{name}"), time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_the_lines_of_tests_alone() {
        let read = |line| timed(line).map(|(name, time)| (name, time.as_secs_f64()));
        assert_eq!(read("test a::b ... ok <1.234s>"), Some(("a::b".into(), 1.234)));
        assert_eq!(read("6.1: test a ... FAILED <12.0s>"), Some(("6.1: a".into(), 12.0)));
        assert_eq!(read("test a - should panic ... ok <0.5s>"), Some(("a - should panic".into(), 0.5)));
        for other in [
            "test a ... ignored",
            "test a ... ok",
            "test a has been running for over 60 seconds",
            "test result: ok. 1 passed; finished in 0.1s",
            "the latest thing ... <1s>",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn the_slowest_come_first_and_are_twenty() {
        let record = Record::default();
        for test in 0..30 {
            record.hear("unit", &format!("test t{test} ... ok <{test}.5s>"));
        }
        let table = record.slowest();
        assert_eq!(table.lines().count(), SLOWEST);
        assert!(table.starts_with("     29.5 s  unit       t29\n"), "{table}");
        record.hear("kernels", "6.1: test a::b ... ok <1.0s>");
        assert!(record.demand("kernels", "6.1: ", &["a::b"]).is_ok());
        for (ring, tag, test) in
            [("kernels", "6.12: ", "a::b"), ("e2e", "6.1: ", "a::b"), ("kernels", "6.1: ", "a::c")]
        {
            let error = record.demand(ring, tag, &[test]).unwrap_err().to_string();
            assert!(error.ends_with(test) && error.contains(ring), "{error}");
        }
    }

    #[test]
    fn the_last_closing_line_is_kept_for_the_end() {
        let record = Record::default();
        record.close("test result: ok. 1 passed\n".into());
        record.close("test result: ok. 2 passed\n".into());
        assert_eq!(record.closing(), "test result: ok. 2 passed\n");
        assert_eq!(record.closing(), "");
    }
}
