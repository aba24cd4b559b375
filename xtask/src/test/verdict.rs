//! How rings went, and what is said of that at the end of a run.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::Ring;
use crate::record::Record;

pub(super) enum Verdict {
    Passed(Duration),
    Failed(Duration, String),
    Skipped(String),
    /// This machine cannot have it, and nobody asked for it by name.
    Impossible(String),
}

/// Runs a ring, and takes its time.
pub(super) fn timed(ring: impl FnOnce() -> Result<()>) -> Verdict {
    let started = Instant::now();
    match ring() {
        Ok(()) => Verdict::Passed(started.elapsed()),
        Err(error) => Verdict::Failed(started.elapsed(), format!("{error:#}")),
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(time) => write!(f, "passed in {:.1} s", time.as_secs_f64()),
            Self::Failed(time, why) => write!(f, "FAILED after {:.1} s:\n{why}", time.as_secs_f64()),
            Self::Skipped(why) => write!(f, "SKIPPED: {why}"),
            Self::Impossible(why) => write!(f, "DID NOT RUN, since this machine cannot: {why}"),
        }
    }
}

/// Tells the time of each ring and of the slowest tests, and of each ring that did not pass why. The line with which libtest closed
/// ends it.
pub(super) fn sum_up(prepared: Duration, verdicts: &[(Ring, Verdict)], record: &Record) -> Result<()> {
    println!("\ntest: summary");
    println!(
        "  {:<10} took {:.1} s: building, and fetching what the tests need",
        "before",
        prepared.as_secs_f64()
    );
    for (ring, verdict) in verdicts {
        println!("  {:<10} {verdict}", ring.to_string());
    }
    let slowest = record.slowest();
    if !slowest.is_empty() {
        println!(
            "\ntest: the slowest tests; where one needs the machine for itself, its time begins when it starts to wait"
        );
        print!("{slowest}");
    }
    println!();
    print!("{}", record.closing());
    let good = |verdict: &Verdict| matches!(verdict, Verdict::Passed(_) | Verdict::Impossible(_));
    match verdicts.iter().filter(|(_, verdict)| !good(verdict)).count() {
        0 => Ok(()),
        bad => bail!("{bad} of {} rings did not pass", verdicts.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_did_not_run_has_not_passed() {
        let sum_up = |verdicts: &[_]| sum_up(Duration::ZERO, verdicts, &Record::default());
        assert!(sum_up(&[(Ring::Unit, Verdict::Passed(Duration::ZERO))]).is_ok());
        assert!(sum_up(&[(Ring::E2e, Verdict::Skipped("no root".into()))]).is_err());
        let impossible = || (Ring::Kernels, Verdict::Impossible("no apt".into()));
        assert!(sum_up(&[(Ring::Unit, Verdict::Passed(Duration::ZERO)), impossible()]).is_ok());
        assert!(impossible().1.to_string().starts_with("DID NOT RUN"));
    }
}
