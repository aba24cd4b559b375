//! The three rings of tests, each run to its end even if one before it failed.

use std::{
    fmt,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    build, exec, privilege,
    setup::{self, Group},
    workspace,
};

/// What `test` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Which rings to run; all of them if none is named
    #[arg(value_enum)]
    rings: Vec<Ring>,
    /// Passed on to the tests: a part of a test's name, or flags such as --nocapture
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// From the cheapest to the dearest, which is also the order they run in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Ring {
    /// Pure code, on the host
    Unit,
    /// Single programs in the kernel, by `BPF_PROG_TEST_RUN`
    Prog,
    /// The agent against real servers and clients
    E2e,
}

enum Verdict {
    Passed(Duration),
    Failed(Duration, String),
    Skipped(String),
}

/// Runs rings, says of each how it went, and sums up what did not pass. Where all passed, cargo's own summary of the
/// last one has the last word.
pub(crate) fn test(options: &Options) -> Result<()> {
    let rings = chosen(&options.rings);
    let in_kernel = rings.iter().any(|ring| *ring != Ring::Unit);
    let groups: &[Group] = if in_kernel { &[Group::Mounts, Group::Tests] } else { &[] };
    let toolchain = setup::ensure(groups)?;
    let object = build::ebpf(&toolchain)?;
    if in_kernel {
        build::agent(&object)?;
    }

    let mut verdicts = Vec::new();
    for ring in rings {
        if let Some((before, verdict)) = verdicts.last() {
            eprintln!("\ntest: the ring `{before}` {verdict}");
        }
        eprintln!("\ntest: the ring `{ring}` starts");
        let mut cargo = ring.cargo();
        cargo.env(build::EBPF_VARIABLE, &object).env("TRAFFIC_PROBE_BIN", workspace::agent());
        cargo.env("PATH", exec::search_path());
        verdicts.push((ring, ring.run(cargo, &options.arguments)));
    }
    sum_up(&verdicts)
}

fn chosen(named: &[Ring]) -> Vec<Ring> {
    if named.is_empty() {
        return Ring::value_variants().to_vec();
    }
    let mut rings = named.to_vec();
    rings.sort_unstable();
    rings.dedup();
    rings
}

impl Ring {
    fn cargo(self) -> Command {
        let mut cargo = workspace::host_cargo("test");
        cargo.args(match self {
            Self::Unit => &["-p", "probe-common", "-p", "probe-user", "-p", "xtask", "--no-fail-fast"][..],
            Self::Prog => &["-p", "probe-tests", "--test", "prog"],
            Self::E2e => &["-p", "probe-tests", "--test", "e2e"],
        });
        cargo
    }

    fn run(self, mut cargo: Command, arguments: &[String]) -> Verdict {
        if self != Self::Unit && !privilege::is_root() {
            start_by_sudo(&mut cargo);
            cargo.arg("--").args(arguments);
            if let Err(refusal) = privilege::offer(&format!("the ring `{self}`"), &cargo) {
                return Verdict::Skipped(refusal.to_string());
            }
        } else {
            cargo.arg("--").args(arguments);
        }
        let started = Instant::now();
        match exec::run(&mut cargo) {
            Ok(()) => Verdict::Passed(started.elapsed()),
            Err(error) => Verdict::Failed(started.elapsed(), format!("{error:#}")),
        }
    }
}

/// Has cargo start the tests through sudo: compiling, and what it leaves in `target`, stays the user's.
fn start_by_sudo(cargo: &mut Command) {
    let kept: Vec<_> = cargo
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?.to_owned())))
        .filter(|(name, _)| name.starts_with("TRAFFIC_PROBE_") || *name == "PATH")
        .collect();
    let sudo = privilege::sudo(&kept);
    let words: Vec<_> = [sudo.get_program()].into_iter().chain(sudo.get_args()).collect();
    // Debug's quoting of a list of strings is TOML's, too.
    cargo.arg("--config").arg(format!("target.'cfg(all())'.runner={words:?}"));
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit",
            Self::Prog => "prog",
            Self::E2e => "e2e",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(time) => write!(f, "passed in {:.1} s", time.as_secs_f64()),
            Self::Failed(time, why) => write!(f, "FAILED after {:.1} s: {why}", time.as_secs_f64()),
            Self::Skipped(why) => write!(f, "SKIPPED: {why}"),
        }
    }
}

fn sum_up(verdicts: &[(Ring, Verdict)]) -> Result<()> {
    let bad = verdicts.iter().filter(|(_, verdict)| !matches!(verdict, Verdict::Passed(_))).count();
    if bad == 0 {
        return Ok(());
    }
    println!("\ntest: summary");
    for (ring, verdict) in verdicts {
        println!("  {:<5} {verdict}", ring.to_string());
    }
    bail!("{bad} of {} rings did not pass", verdicts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_run_in_order_and_once() {
        let names =
            |rings: &[Ring]| chosen(rings).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&[]), "unit prog e2e");
        assert_eq!(names(&[Ring::E2e, Ring::Unit, Ring::E2e]), "unit e2e");
    }

    #[test]
    fn a_ring_that_did_not_run_has_not_passed() {
        assert!(sum_up(&[(Ring::Unit, Verdict::Passed(Duration::ZERO))]).is_ok());
        assert!(sum_up(&[(Ring::E2e, Verdict::Skipped("no root".into()))]).is_err());
    }

    #[test]
    fn only_the_tests_run_by_sudo() {
        let mut cargo = Command::new("cargo");
        cargo.env("TRAFFIC_PROBE_BIN", "/t/probe").env("OTHER", "x");
        start_by_sudo(&mut cargo);
        let arguments: Vec<_> = cargo.get_args().filter_map(|argument| argument.to_str()).collect();
        let runner = r#"target.'cfg(all())'.runner=["sudo", "env", "TRAFFIC_PROBE_BIN=/t/probe"]"#;
        assert_eq!(arguments, ["--config", runner]);
    }
}
