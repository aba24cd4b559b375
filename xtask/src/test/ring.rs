//! The rings, and how cargo is called on each.

use std::{ffi::OsStr, fmt, process::Command};

use clap::ValueEnum;

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
    /// The tests of the ring `e2e` that take long and rarely fail; only if asked for
    Long,
    /// The container image, by podman and runc, with the rights that it asks for and with fewer; only if asked for, since the agent
    /// is compiled for it once more
    Image,
    /// The agent on a real Kubernetes node, by its image and its chart; only if asked for, since Kubernetes is compiled for it
    Kubernetes,
}

impl Ring {
    /// Those that run where none is named.
    pub(crate) fn usual() -> Vec<Self> {
        vec![Self::Unit, Self::Prog, Self::Fuzz, Self::Kernels, Self::E2e, Self::Packages]
    }

    /// Whether its tests need root.
    pub(crate) fn needs_root(self) -> bool {
        self != Self::Unit
    }

    /// Which packages and which of their tests it has.
    fn selection(self) -> &'static [&'static str] {
        match self {
            Self::Unit | Self::Fuzz => {
                &["-p", "probe-common", "-p", "probe-fuzz", "-p", "probe-user", "-p", "xtask"]
            }
            Self::Prog => &["-p", "probe-tests", "--test", "prog"],
            Self::E2e | Self::Long | Self::Kernels => &["-p", "probe-tests", "--test", "e2e"],
            Self::Packages => &["-p", "probe-tests", "--test", "packages"],
            Self::Image => &["-p", "probe-tests", "--test", "image"],
            Self::Kubernetes => &["-p", "probe-tests", "--test", "kubernetes"],
        }
    }

    /// A cargo that runs it.
    pub(crate) fn cargo(self) -> Command {
        let mut cargo = workspace::host_cargo("test");
        cargo.args(self.selection());
        if self == Self::Unit {
            cargo.arg("--no-fail-fast");
        }
        cargo
    }

    /// A cargo that compiles it; none for what compiles in a way of its own.
    pub(super) fn compile(self) -> Option<Command> {
        let mut cargo = workspace::host_cargo("test");
        match self {
            Self::Fuzz => return None,
            // Programs and agents.
            Self::Kernels => cargo.args(Self::Prog.selection()).args(&Self::E2e.selection()[2..]),
            _ => cargo.args(self.selection()),
        };
        cargo.arg("--no-run");
        Some(cargo)
    }

    /// Which of its tests run, as libtest takes it.
    pub(super) fn choice(self, arguments: &[String]) -> Vec<String> {
        arguments.to_vec()
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
            Self::Image => "image",
            Self::Kubernetes => "kubernetes",
        })
    }
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
pub(crate) fn start_by(cargo: &mut Command, words: &[String]) {
    // Debug's quoting of a list of strings is TOML's, too.
    cargo.arg("--config").arg(format!("target.'cfg(all())'.runner={words:?}"));
}

#[cfg(test)]
mod tests {
    use super::*;

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
