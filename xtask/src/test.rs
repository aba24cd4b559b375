//! The rings of tests, each run to its end even if one before it failed.

use std::{
    ffi::OsStr,
    fmt,
    num::NonZeroUsize,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    build, cluster, exec, fuzz, image, libtest, package, privilege,
    setup::{self, Group},
    vm, workspace,
};

/// What `test` takes.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Which rings to run; all of them if none is named
    #[arg(value_enum)]
    rings: Vec<Ring>,
    /// Run the ring `prog` under this kernel in a virtual machine, such as 6.1; repeatable
    #[arg(long = "kernel", value_name = "SERIES")]
    kernels: Vec<String>,
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
    /// The fuzz targets, for a number of executions each
    Fuzz,
    /// The ring `prog` under other kernels, in virtual machines
    Kernels,
    /// The agent against real servers and clients
    E2e,
    /// The packages and the systemd unit, installed and removed by dpkg and rpm
    Packages,
    /// The container image, by podman and runc, with the rights that it asks for and with fewer; only if asked for, since the agent
    /// is compiled for it once more
    Image,
    /// The agent on a real Kubernetes node, by its image and its chart; only if asked for, since Kubernetes is compiled for it
    Kubernetes,
}

enum Verdict {
    Passed(Duration),
    Failed(Duration, String),
    Skipped(String),
    /// This machine cannot have it, and nobody asked for it by name.
    Impossible(String),
}

/// Runs rings, says of each how it went, and sums up what did not pass. Where all passed, cargo's own summary of the
/// last one has the last word.
pub(crate) fn test(options: &Options) -> Result<()> {
    let rings = chosen(options)?;
    let impossible = setup::machine_possible().err().map(|why| format!("{why:#}"));
    let demanded = options.rings.contains(&Ring::Kernels) || !options.kernels.is_empty();
    if let Some(why) = impossible.as_ref().filter(|_| demanded) {
        bail!("{why}");
    }
    let mut groups = Vec::new();
    if rings.iter().any(|ring| matches!(ring, Ring::Prog | Ring::E2e | Ring::Packages | Ring::Image)) {
        groups.extend([Group::Mounts, Group::Tests]);
    }
    if rings.contains(&Ring::Fuzz) {
        groups.push(Group::Fuzz);
    }
    if rings.contains(&Ring::Kernels) && impossible.is_none() {
        groups.push(Group::Kernels);
    }
    let toolchain = setup::ensure(&groups)?;
    let object = build::ebpf(&toolchain)?;
    let (mut schema, mut newman) = (None, None);
    if rings.contains(&Ring::E2e) {
        build::agent(&object)?;
        schema = Some(setup::grafana_schema()?);
        newman = Some(setup::newman()?);
    }
    let packages = workspace::target().join("package-tests");
    if rings.contains(&Ring::Packages) {
        package::for_tests(&packages)?;
    }

    let images = rings.contains(&Ring::Image).then(image::ForTests::prepare).transpose()?;

    let mut verdicts = Vec::new();
    for ring in rings {
        if let Some((before, verdict)) = verdicts.last() {
            eprintln!("\ntest: the ring `{before}` {verdict}");
        }
        eprintln!("\ntest: the ring `{ring}` starts");
        let cargo = || {
            let mut cargo = ring.cargo();
            // Kept on the way through sudo: what the user asks of the tests.
            cargo.envs(privilege::agent_settings());
            cargo.env(build::EBPF_VARIABLE, &object).env("TRAFFIC_PROBE_BIN", workspace::agent());
            cargo.envs(schema.iter().map(|directory| ("TRAFFIC_PROBE_GRAFANA_SCHEMA", directory)));
            cargo.env("TRAFFIC_PROBE_PACKAGES", &packages);
            cargo.envs(images.iter().flat_map(image::ForTests::variables));
            cargo.env("PATH", exec::search_path());
            cargo.envs(newman.as_ref().map(|newman| ("TRAFFIC_PROBE_NEWMAN", newman)));
            cargo
        };
        let verdict = match (ring, &impossible) {
            (Ring::Kernels, Some(why)) => Verdict::Impossible(why.clone()),
            (Ring::Kernels, None) => under_kernels(options, cargo),
            (Ring::Fuzz, _) => timed(fuzz::ring),
            (Ring::Kubernetes, _) => timed(|| cluster::ring(cargo(), &options.arguments)),
            _ => ring.run(cargo(), &options.arguments),
        };
        verdicts.push((ring, verdict));
    }
    sum_up(&verdicts)
}

fn chosen(options: &Options) -> Result<Vec<Ring>> {
    let mut rings = options.rings.clone();
    if !options.kernels.is_empty() {
        // The programs' ring under other kernels: that is the ring `kernels`, with kernels of the user's choice.
        if rings.iter().any(|ring| !matches!(ring, Ring::Prog | Ring::Kernels)) {
            bail!(
                "only the ring `prog` runs under another kernel: leave the others out, or leave --kernel out"
            );
        }
        return Ok(vec![Ring::Kernels]);
    }
    if rings.is_empty() {
        let dear = [Ring::Image, Ring::Kubernetes];
        let cheap = Ring::value_variants().iter().filter(|ring| !dear.contains(ring));
        return Ok(cheap.copied().collect());
    }
    rings.sort_unstable();
    rings.dedup();
    Ok(rings)
}

fn timed(ring: impl FnOnce() -> Result<()>) -> Verdict {
    let started = Instant::now();
    match ring() {
        Ok(()) => Verdict::Passed(started.elapsed()),
        Err(error) => Verdict::Failed(started.elapsed(), format!("{error:#}")),
    }
}

/// Runs the programs' ring under each kernel, to the end even if one fails. As many run at a time as there are processors:
/// a machine that is emulated keeps one busy.
fn under_kernels(options: &Options, cargo: impl Fn() -> Command) -> Verdict {
    let mut series: Vec<&str> = options.kernels.iter().map(String::as_str).collect();
    if series.is_empty() {
        series.extend(setup::TESTED);
    }
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    timed(|| {
        let mut failures = Vec::new();
        for series in series.chunks(processors) {
            eprintln!("\nkernels: {}", series.join(", "));
            let commands = series.iter().map(|series| {
                // What one needs is fetched and compiled before any runs.
                setup::machine(series)?;
                let mut cargo = cargo();
                start_by(&mut cargo, &vm::runner(series)?);
                cargo.arg("--").args(&options.arguments);
                Ok(cargo)
            });
            let results = at_once(commands.collect::<Result<Vec<_>>>()?);
            let failed =
                series.iter().zip(results).filter_map(|(series, result)| Some((series, result.err()?)));
            failures.extend(failed.map(|(series, error)| format!("{series}:\n{error:#}")));
        }
        if failures.is_empty() { Ok(()) } else { bail!(failures.join("\n")) }
    })
}

/// Runs commands side by side, each to its end.
fn at_once(commands: Vec<Command>) -> Vec<Result<()>> {
    thread::scope(|scope| {
        let start = |mut command: Command| scope.spawn(move || libtest::run(&mut command));
        let running: Vec<_> = commands.into_iter().map(start).collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended.map(|result| result.unwrap_or_else(|_| bail!("the thread that ran it failed"))).collect()
    })
}

impl Ring {
    fn cargo(self) -> Command {
        let mut cargo = workspace::host_cargo("test");
        cargo.args(match self {
            Self::Unit | Self::Fuzz => &[
                "-p",
                "probe-common",
                "-p",
                "probe-fuzz",
                "-p",
                "probe-user",
                "-p",
                "xtask",
                "--no-fail-fast",
            ][..],
            Self::Prog | Self::Kernels => &["-p", "probe-tests", "--test", "prog"],
            Self::E2e => &["-p", "probe-tests", "--test", "e2e"],
            Self::Packages => &["-p", "probe-tests", "--test", "packages"],
            Self::Image => &["-p", "probe-tests", "--test", "image"],
            Self::Kubernetes => &["-p", "probe-tests", "--test", "kubernetes"],
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
        timed(|| libtest::run(&mut cargo))
    }
}

/// Has cargo start the tests through sudo: compiling, and what it leaves in `target`, stays the user's.
pub(crate) fn start_by_sudo(cargo: &mut Command) {
    let kept: Vec<_> = cargo
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?.to_owned())))
        .filter(|(name, _)| name.starts_with("TRAFFIC_PROBE_") || *name == "PATH")
        .collect();
    let sudo = privilege::sudo(&kept);
    let words = [sudo.get_program()].into_iter().chain(sudo.get_args()).map(OsStr::to_string_lossy);
    start_by(cargo, &words.collect::<Vec<_>>());
}

/// Has cargo start the tests by a program with its arguments.
fn start_by(cargo: &mut Command, words: &[impl fmt::Debug]) {
    // Debug's quoting of a list of strings is TOML's, too.
    cargo.arg("--config").arg(format!("target.'cfg(all())'.runner={words:?}"));
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unit => "unit",
            Self::Prog => "prog",
            Self::Fuzz => "fuzz",
            Self::Kernels => "kernels",
            Self::E2e => "e2e",
            Self::Packages => "packages",
            Self::Image => "image",
            Self::Kubernetes => "kubernetes",
        })
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

fn sum_up(verdicts: &[(Ring, Verdict)]) -> Result<()> {
    let passed = |verdict: &Verdict| matches!(verdict, Verdict::Passed(_));
    if verdicts.iter().all(|(_, verdict)| passed(verdict)) {
        return Ok(());
    }
    println!("\ntest: summary");
    for (ring, verdict) in verdicts {
        println!("  {:<7} {verdict}", ring.to_string());
    }
    let bad = |verdict: &Verdict| !passed(verdict) && !matches!(verdict, Verdict::Impossible(_));
    match verdicts.iter().filter(|(_, verdict)| bad(verdict)).count() {
        0 => Ok(()),
        bad => bail!("{bad} of {} rings did not pass", verdicts.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_run_in_order_and_once() {
        let names = |rings: &[Ring]| {
            let options = Options { rings: rings.to_vec(), ..Options::default() };
            chosen(&options).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[]), "unit prog fuzz kernels e2e packages");
        assert_eq!(names(&[Ring::E2e, Ring::Unit, Ring::E2e]), "unit e2e");
    }

    #[test]
    fn another_kernel_runs_the_programs_ring_only() {
        let options = |rings| Options { rings, kernels: vec!["6.1".into()], ..Options::default() };
        for rings in [vec![], vec![Ring::Prog], vec![Ring::Kernels]] {
            assert!(chosen(&options(rings)).unwrap() == [Ring::Kernels]);
        }
        assert!(chosen(&options(vec![Ring::Prog, Ring::E2e])).is_err());
    }

    #[test]
    fn a_ring_that_did_not_run_has_not_passed() {
        assert!(sum_up(&[(Ring::Unit, Verdict::Passed(Duration::ZERO))]).is_ok());
        assert!(sum_up(&[(Ring::E2e, Verdict::Skipped("no root".into()))]).is_err());
        let impossible = || (Ring::Kernels, Verdict::Impossible("no apt".into()));
        assert!(sum_up(&[(Ring::Unit, Verdict::Passed(Duration::ZERO)), impossible()]).is_ok());
        assert!(impossible().1.to_string().starts_with("DID NOT RUN"));
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
