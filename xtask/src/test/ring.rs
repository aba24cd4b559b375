//! The rings, and how cargo is called on each.

use std::{ffi::OsStr, fmt, num::NonZeroUsize, process::Command, thread};

use clap::ValueEnum;

use super::{chaos, long};
use crate::{privilege, workspace};

/// From the cheapest to the dearest, which is also the order they run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Ring {
    /// Pure code, on the host
    Unit,
    /// Single programs in the kernel, by `BPF_PROG_TEST_RUN`
    Prog,
    /// The fuzz targets, for a number of executions each
    Fuzz,
    /// The programs, and some tests with the agent, under other kernels in virtual machines
    Kernels,
    /// The agent against real servers and clients
    E2e,
    /// The packages and the systemd unit, installed and removed by dpkg and rpm
    Packages,
    /// Tests of the ring `e2e` in their full size; only if asked for, since they take long and rarely fail
    Long,
    /// Tests of the ring `e2e` that make faults and attacks, with a table of what held; only if asked for, since they run there, too
    Chaos,
    /// The container image, by podman and runc, with the rights that it asks for and with fewer; only if asked for, since the agent
    /// is compiled for it once more
    Image,
    /// The agent on a real Kubernetes node, by its image and its chart; only if asked for, since Kubernetes is compiled for it
    Kubernetes,
}

impl Ring {
    /// Those that run where none is named.
    pub(super) fn usual() -> Vec<Self> {
        vec![Self::Unit, Self::Prog, Self::Fuzz, Self::Kernels, Self::E2e, Self::Packages]
    }

    /// Whether its tests need root.
    pub(super) fn needs_root(self) -> bool {
        self != Self::Unit
    }

    /// Which programs of tests it has: none where it compiles something of its own.
    fn programs(self) -> &'static [&'static str] {
        match self {
            // No example in a comment is a test, or `--doc` would be missing here.
            Self::Unit => &["--lib", "--bins", "--test", "conversations", "--test", "routes"],
            Self::Fuzz => &[],
            Self::Prog => &["--test", "prog"],
            Self::Kernels => &["--test", "prog", "--test", "e2e"],
            Self::E2e | Self::Long | Self::Chaos => &["--test", "e2e"],
            Self::Packages => &["--test", "packages"],
            Self::Image => &["--test", "image"],
            Self::Kubernetes => &["--test", "kubernetes"],
        }
    }

    /// Which tests it runs of another ring's, of those that the user's words name; none if it has its own.
    pub(super) fn chosen(self, arguments: &[String]) -> Vec<&'static str> {
        match self {
            Self::Long => named(&long::TESTS, arguments),
            Self::Chaos => named(&chaos::tests(), arguments),
            _ => Vec::new(),
        }
    }

    /// A cargo that runs it.
    pub(super) fn cargo(self) -> Command {
        let mut cargo = cargo();
        cargo.args(self.programs());
        if self == Self::Unit {
            cargo.arg("--no-fail-fast");
        }
        cargo
    }

    /// A cargo that compiles what rings run, if there is anything.
    pub(super) fn compile(rings: &[Self]) -> Option<Command> {
        let programs: Vec<_> = rings.iter().flat_map(|ring| ring.programs()).collect();
        let mut cargo = cargo();
        cargo.args(&programs).arg("--no-run");
        (!programs.is_empty()).then_some(cargo)
    }

    /// What libtest is told: which tests, and how many at a time.
    pub(super) fn options(self, arguments: &[String]) -> Vec<String> {
        let mut options = arguments.to_vec();
        let says = |flag: &str| arguments.iter().any(|argument| argument.starts_with(flag));
        let chosen = self.chosen(arguments);
        if !chosen.is_empty() {
            options.retain(|argument| argument.starts_with("--"));
            options.push("--exact".into());
            options.extend(chosen.into_iter().map(String::from));
        }
        if matches!(self, Self::E2e | Self::Chaos) && !says("--test-threads") {
            // Most of the time tests wait, for a tick or for the end of a window. Those that measure have the machine alone.
            let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
            options.push(format!("--test-threads={}", 2 * processors));
        }
        options
    }
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
            Self::Long => "long",
            Self::Chaos => "chaos",
            Self::Image => "image",
            Self::Kubernetes => "kubernetes",
        })
    }
}

/// Those tests whose names have one of the user's words in them, flags left aside; all of them if there is no word.
pub(super) fn named(tests: &[&'static str], words: &[String]) -> Vec<&'static str> {
    let parts: Vec<_> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |test: &&str| parts.is_empty() || parts.iter().any(|part| test.contains(part.as_str()));
    tests.iter().copied().filter(wanted).collect()
}

/// A cargo that tests. The packages are always the same, whatever of them runs: which features a dependency has depends on them, and
/// each choice would have many compiled once more.
fn cargo() -> Command {
    let mut cargo = workspace::host_cargo("test");
    for package in ["probe-common", "probe-fuzz", "probe-user", "probe-tests", "xtask"] {
        cargo.args(["-p", package]);
    }
    cargo
}

/// Has cargo start tests through sudo, and there by another program if one is given: compiling, and what it leaves in `target`,
/// stays the user's.
pub(crate) fn start_by_sudo(cargo: &mut Command, then: &[String]) {
    let kept: Vec<_> = cargo
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?.to_owned())))
        .filter(|(name, _)| name.starts_with("TRAFFIC_PROBE_") || *name == "PATH")
        .collect();
    let sudo = privilege::sudo(&kept);
    let words = [sudo.get_program()].into_iter().chain(sudo.get_args()).map(OsStr::to_string_lossy);
    start_by(cargo, &words.map(Into::into).chain(then.iter().cloned()).collect::<Vec<_>>());
}

/// Has cargo start the tests by a program with its arguments.
pub(super) fn start_by(cargo: &mut Command, words: &[String]) {
    // Debug's quoting of a list of strings is TOML's, too.
    cargo.arg("--config").arg(format!("target.'cfg(all())'.runner={words:?}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_s_words_reach_the_tests() {
        let options = |ring: Ring, words: &[&str]| {
            ring.options(&words.iter().map(ToString::to_string).collect::<Vec<_>>()).join(" ")
        };
        assert_eq!(options(Ring::Prog, &["a", "--nocapture"]), "a --nocapture");
        assert!(options(Ring::E2e, &["a"]).starts_with("a --test-threads="));
        assert_eq!(options(Ring::E2e, &["--test-threads=1"]), "--test-threads=1");
        assert_eq!(options(Ring::Long, &["churn"]), format!("--exact {}", long::TESTS[0]));
        assert_eq!(named(&["a::b", "c"], &["--nocapture".into()]), ["a::b", "c"]);
        assert_eq!(options(Ring::Long, &[]).split(' ').count(), 1 + long::TESTS.len());
        assert!(options(Ring::Chaos, &["names::"]).starts_with("--exact names::"));
    }

    #[test]
    fn only_the_tests_run_by_sudo() {
        let mut cargo = Command::new("cargo");
        cargo.env("TRAFFIC_PROBE_BIN", "/t/probe").env("OTHER", "x");
        start_by_sudo(&mut cargo, &["/t/xtask".into(), "watched".into()]);
        let arguments: Vec<_> = cargo.get_args().filter_map(|argument| argument.to_str()).collect();
        let runner = r#"target.'cfg(all())'.runner=["sudo", "env", "TRAFFIC_PROBE_BIN=/t/probe", "/t/xtask", "watched"]"#;
        assert_eq!(arguments, ["--config", runner]);
    }
}
