//! The rings of tests, each run to its end even if one before it failed.

mod chaos;
mod kernels;
mod long;
mod ring;
mod verdict;

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use self::ring::{Ring, start_by_sudo};
use self::{
    ring::start_by,
    verdict::{Verdict, sum_up, timed},
};
use crate::{
    build, cluster, exec, fuzz, harness, image, libtest, package, privilege,
    record::Record,
    setup::{self, Group},
    workspace,
};

/// What `test` takes.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Which rings to run; all of them that are not only run if asked for, if none is named
    #[arg(value_enum)]
    rings: Vec<Ring>,
    /// Run the ring `prog`, or `e2e` or `kernels` if it is named, under this kernel in a virtual machine, such as 6.1; repeatable
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
    /// Passed on to the tests: a part of a test's name, or flags such as --nocapture
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What `chaos` takes.
#[derive(Args)]
pub(crate) struct Chaos {
    /// Passed on to the tests: a part of a test's name, or flags such as --nocapture
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What the rings are given: it is fetched and built before any runs.
struct Prepared {
    /// For the environment of cargo and the tests.
    variables: Vec<(String, String)>,
    /// Why this machine has no virtual machines, if it has none.
    impossible: Option<String>,
}

/// Runs rings, and says at the end how each went and which tests took longest. cargo's own summary of the last one has the last
/// word.
pub(crate) fn test(options: &Options) -> Result<()> {
    let started = Instant::now();
    let rings = chosen(options)?;
    let prepared = prepare(options, &rings)?;
    let preparation = started.elapsed();
    let record = Record::default();
    let mut verdicts: Vec<(Ring, Verdict)> = Vec::new();
    // One after the other. Virtual machines beside the agent's tests made those wrong that compare latencies with a client's clock,
    // although they ran at idle priority; all other rings keep the processors busy.
    for ring in rings {
        if let Some((before, verdict)) = verdicts.last() {
            eprintln!("\ntest: the ring `{before}` {verdict}");
        }
        eprintln!("\ntest: the ring `{ring}` starts");
        verdicts.push((ring, prepared.run(ring, options, &record)));
    }
    sum_up(preparation, &verdicts, &record)
}

/// Runs the ring `chaos`, or of it what the words name.
pub(crate) fn chaos(options: &Chaos) -> Result<()> {
    test(&Options { rings: vec![Ring::Chaos], arguments: options.arguments.clone(), ..Options::default() })
}

fn chosen(options: &Options) -> Result<Vec<Ring>> {
    let mut rings = options.rings.clone();
    rings.sort_unstable();
    rings.dedup();
    if !options.kernels.is_empty() {
        return match rings[..] {
            [] => Ok(vec![Ring::Prog]),
            [Ring::Prog | Ring::E2e | Ring::Kernels] => Ok(rings),
            _ => bail!(
                "one of the rings `prog`, `e2e` and `kernels` runs under another kernel: name one of them, or leave --kernel out"
            ),
        };
    }
    Ok(if rings.is_empty() { Ring::usual() } else { rings })
}

/// Fetches and builds what the rings need.
fn prepare(options: &Options, rings: &[Ring]) -> Result<Prepared> {
    let has = |ring| rings.contains(&ring);
    let in_machines = has(Ring::Kernels) || !options.kernels.is_empty();
    let impossible = setup::machine_possible().err().map(|why| format!("{why:#}"));
    let demanded = options.rings.contains(&Ring::Kernels) || !options.kernels.is_empty();
    if let Some(why) = impossible.as_ref().filter(|_| demanded) {
        bail!("{why}");
    }
    let agents = has(Ring::E2e) || has(Ring::Long) || has(Ring::Chaos) || has(Ring::Kernels);
    let mut groups = Vec::new();
    if agents || has(Ring::Prog) || has(Ring::Packages) || has(Ring::Image) {
        groups.extend([Group::Mounts, Group::Tests]);
    }
    if has(Ring::Fuzz) {
        groups.push(Group::Fuzz);
    }
    if in_machines && impossible.is_none() {
        groups.push(Group::Kernels);
    }
    let toolchain = setup::ensure(&groups)?;
    let object = build::ebpf(&toolchain)?;
    let packages = workspace::target().join("package-tests");
    let named = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
    let mut variables = vec![
        named(build::EBPF_VARIABLE, &object),
        named("TRAFFIC_PROBE_BIN", &workspace::agent()),
        named("TRAFFIC_PROBE_PACKAGES", &packages),
        ("PATH".into(), exec::search_path()),
    ];
    if agents {
        build::agent(&object)?;
    }
    if has(Ring::E2e) || has(Ring::Long) || has(Ring::Chaos) {
        variables.push(named("TRAFFIC_PROBE_GRAFANA_SCHEMA", &setup::grafana_schema()?));
        variables.push(named("TRAFFIC_PROBE_NEWMAN", &setup::newman()?));
        variables.push(named("TRAFFIC_PROBE_OPENMETRICS", &setup::openmetrics_parser()?));
    }
    if has(Ring::Packages) {
        package::for_tests(&packages)?;
    }
    if has(Ring::Image) {
        let images = image::ForTests::prepare()?;
        variables.extend(images.variables().into_iter().map(|(name, path)| named(name, path)));
    }
    if let Some(mut cargo) = Ring::compile(rings) {
        exec::run(cargo.envs(privilege::agent_settings()).envs(variables.clone()))?;
    }
    Ok(Prepared { variables, impossible })
}

impl Prepared {
    /// A cargo that runs a ring.
    fn cargo(&self, ring: Ring) -> Command {
        let mut cargo = ring.cargo();
        if ring == Ring::Long {
            cargo.envs(long::SIZES);
        }
        // Kept on the way through sudo: what the user asks of the tests.
        cargo.envs(privilege::agent_settings()).envs(self.variables.clone());
        cargo
    }

    /// Runs a ring.
    fn run(&self, ring: Ring, options: &Options, record: &Record) -> Verdict {
        match (ring, &self.impossible) {
            (Ring::Kernels, Some(why)) => Verdict::Impossible(why.clone()),
            _ if ring == Ring::Kernels || !options.kernels.is_empty() => {
                let (series, arguments) = (&options.kernels, &options.arguments);
                let run = kernels::Run { series, ring, arguments };
                timed(|| run.run(|ring| self.cargo(ring), record))
            }
            (Ring::Fuzz, _) => timed(fuzz::ring),
            _ => self.run_here(ring, &options.arguments, record),
        }
    }

    /// Runs a ring on this machine.
    fn run_here(&self, ring: Ring, arguments: &[String], record: &Record) -> Verdict {
        let mut cargo = self.cargo(ring);
        let watched = match harness::runner() {
            Ok(watched) => watched,
            Err(error) => return Verdict::Skipped(format!("{error:#}")),
        };
        let by_sudo = ring.needs_root() && !privilege::is_root();
        if by_sudo && ring != Ring::Kubernetes {
            start_by_sudo(&mut cargo, &watched);
        } else {
            start_by(&mut cargo, &watched);
        }
        if ring == Ring::Kubernetes {
            return timed(|| cluster::ring(cargo, arguments, record));
        }
        cargo.arg("--").args(ring.options(arguments));
        if by_sudo && let Err(refusal) = privilege::offer(&format!("the ring `{ring}`"), &cargo) {
            return Verdict::Skipped(refusal.to_string());
        }
        timed(|| {
            libtest::run(&mut cargo, &ring.to_string(), record)?;
            record.demand(ring, "", &ring.chosen(arguments))?;
            if ring == Ring::Chaos {
                println!("\n{}", chaos::table(|test| record.time(ring, test)));
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rings: &[Ring]) -> String {
        rings.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rings_run_in_order_and_once() {
        let names = |rings: &[Ring]| {
            let options = Options { rings: rings.to_vec(), ..Options::default() };
            names(&chosen(&options).unwrap())
        };
        assert_eq!(names(&[]), "unit prog fuzz kernels e2e packages");
        assert_eq!(names(&[Ring::E2e, Ring::Unit, Ring::E2e]), "unit e2e");
    }

    #[test]
    fn one_ring_of_programs_or_agents_runs_under_another_kernel() {
        let chosen = |rings: &[Ring]| {
            chosen(&Options { rings: rings.to_vec(), kernels: vec!["6.1".into()], ..Options::default() })
        };
        assert_eq!(chosen(&[]).unwrap(), [Ring::Prog]);
        for ring in [Ring::Prog, Ring::E2e, Ring::Kernels] {
            assert_eq!(chosen(&[ring]).unwrap(), [ring]);
        }
        assert!(chosen(&[Ring::Prog, Ring::E2e]).is_err() && chosen(&[Ring::Unit]).is_err());
    }
}
