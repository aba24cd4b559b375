//! Runs tests, and keeps what libtest said of those that failed: the end of a ring may be an hour below it, or all that is
//! left of a log.

use std::{
    io::{self, BufRead, BufReader, IsTerminal},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow};

use crate::{exec, record::Record};

/// What is kept of one run, in lines: a test's own words may be the whole log of an agent.
const KEPT: usize = 200;

/// Has cargo, whose last arguments are the tests', run them to their end, with their output passed on as it comes, and notes it
/// as a ring's. Anything but success is an error, which has what was said of each failure.
pub(crate) fn run(cargo: &mut Command, ring: &str, record: &Record) -> Result<()> {
    if io::stdout().is_terminal() {
        // They talk to a pipe, and would leave colours out.
        cargo.arg("--color=always");
    }
    cargo.stdout(Stdio::piped());
    let mut child = cargo.spawn().with_context(|| format!("could not start `{}`", exec::quoted(cargo)))?;
    let mut output = BufReader::new(child.stdout.take().context("the tests have no output")?);
    let (mut failures, mut line, mut closing) = (Failures::default(), Vec::new(), String::new());
    while output.read_until(b'\n', &mut line).context("could not read what the tests say")? > 0 {
        let words = String::from_utf8_lossy(&line);
        failures.hear(words.trim_end());
        record.hear(ring, &words);
        // Held back with the empty lines behind it: it may be the last.
        if words.contains("test result: ") || (!closing.is_empty() && words.trim().is_empty()) {
            closing.push_str(&words);
        } else {
            print!("{}{words}", std::mem::take(&mut closing));
        }
        line.clear();
    }
    record.close(closing);
    let status = child.wait().context("could not wait for the tests")?;
    exec::succeeded(status, cargo).map_err(|error| anyhow!("{failures}{error}"))
}

/// The parts of libtest's output that are about failures: each goes from the word `failures:` to the result.
#[derive(Default)]
struct Failures {
    within: bool,
    lines: Vec<String>,
    left_out: usize,
}

impl Failures {
    /// Takes a line, which may begin with the tag of a virtual machine.
    fn hear(&mut self, line: &str) {
        let begins = line.ends_with("failures:");
        self.within = (self.within || begins) && !line.contains("test result: ");
        if !self.within || begins || line.trim().is_empty() {
            return;
        }
        if self.lines.len() < KEPT {
            self.lines.push(line.to_owned());
        } else {
            self.left_out += 1;
        }
    }
}

impl std::fmt::Display for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            writeln!(f, "    {line}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "    ... and {} lines more: see above", self.left_out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
running 2 tests
test good ... ok
test bad ... FAILED

failures:

---- bad stdout ----
Error: 3 requests, and 4 were sent

failures:
    bad

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

";

    fn heard(said: &str) -> String {
        let mut failures = Failures::default();
        said.lines().for_each(|line| failures.hear(line));
        failures.to_string()
    }

    #[test]
    fn what_failed_is_kept_with_its_words() {
        let expected = "    ---- bad stdout ----\n    Error: 3 requests, and 4 were sent\n        bad\n";
        assert_eq!(heard(SAID), expected);
        let tagged = format!("6.1: {}", SAID.replace('\n', "\n6.1: "));
        assert!(heard(&tagged).contains("6.1: Error: 3 requests"), "{}", heard(&tagged));
        assert_eq!(heard("test good ... ok\n\ntest result: ok. 1 passed\n"), "");
    }

    #[test]
    fn not_more_is_kept_than_can_be_read() {
        let kept = heard(&format!("failures:\n{}", "a line\n".repeat(KEPT + 5)));
        assert_eq!(kept.lines().count(), KEPT + 1);
        assert!(kept.ends_with("5 lines more: see above\n"), "{kept}");
    }

    #[test]
    fn tests_are_run_and_their_failures_are_in_the_error() {
        let say = |words: &str, status: u8| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("printf '%s\\n' '{words}'; exit {status}")]);
            run(&mut shell, "unit", &Record::default())
        };
        assert!(say("test good ... ok", 0).is_ok());
        let error = say("failures:\n---- bad stdout ----", 101).unwrap_err().to_string();
        assert!(
            error.starts_with("    ---- bad stdout ----\nthis command ended with exit status: 101"),
            "{error}"
        );
    }
}
