//! What libFuzzer says of a run.

use std::{collections::VecDeque, fmt};

/// How many lines are kept to be shown with a crash.
const KEPT: usize = 30;

/// How a run of a target went.
#[derive(Default)]
pub(super) struct Outcome {
    /// Executions.
    pub(super) executions: u64,
    /// Edges of the program that were taken.
    pub(super) edges: u64,
    /// The same with how often each was, and with values that were compared.
    pub(super) features: u64,
    /// Inputs that between them cover that.
    pub(super) inputs: u64,
    /// The file with the input that it failed on.
    pub(super) crash: Option<String>,
    /// Whether the program said so itself.
    pub(super) ended_well: bool,
    last: VecDeque<String>,
}

impl Outcome {
    /// Takes note of a line.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = count.trim().parse().unwrap_or_default();
        } else if let Some(file) = line.split_once("Test unit written to ") {
            self.crash = Some(file.1.trim().to_owned());
        } else if line.starts_with('#') {
            self.read_status(line);
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    /// Such as `#1048576 pulse  cov: 312 ft: 1022 corp: 214/5612b lim: 4096 exec/s: 349525 rss: 400Mb`.
    fn read_status(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let executions = words.next().and_then(|word| word.trim_start_matches('#').parse().ok());
        self.executions = executions.unwrap_or(self.executions);
        while let Some(name) = words.next() {
            let field = match name {
                "cov:" => &mut self.edges,
                "ft:" => &mut self.features,
                "corp:" => &mut self.inputs,
                _ => continue,
            };
            let number = words.next().and_then(|value| value.split('/').next()?.parse().ok());
            *field = number.unwrap_or(*field);
        }
    }

    /// The last lines, with the panic and what led to it.
    pub(super) fn last_words(&self) -> String {
        self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The figures of a table's row.
    pub(super) fn row(&self) -> String {
        let Self { executions, edges, features, inputs, .. } = self;
        let verdict = if self.crash.is_some() { "FAILS" } else { "ok" };
        format!("{executions:>12} {edges:>8} {features:>8} {inputs:>8}  {verdict}")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} executions, {} edges covered", self.executions, self.edges)?;
        if self.crash.is_some() { write!(f, ", and a FAILURE") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_the_last_ones() {
        let mut outcome = Outcome::default();
        for line in [
            "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb",
            "#900\tNEW    cov: 312 ft: 1022 corp: 214/5612b lim: 4096 exec/s: 0 rss: 40Mb L: 5/9 MS: 1 CMP-",
            "stat::number_of_executed_units: 1000",
        ] {
            outcome.read(line);
        }
        assert_eq!(
            (outcome.executions, outcome.edges, outcome.features, outcome.inputs),
            (1000, 312, 1022, 214)
        );
        assert!(outcome.crash.is_none());
        outcome.read("artifact_prefix='/t/'; Test unit written to /t/engine-crash-1");
        assert_eq!(outcome.crash.as_deref(), Some("/t/engine-crash-1"));
        assert!(outcome.row().ends_with("FAILS"));
    }
}
