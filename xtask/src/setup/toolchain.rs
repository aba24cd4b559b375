//! The toolchain that compiles the kernel side: rustup's nightly where the user has it, else Debian's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::{
    apt,
    linker::{self, Llvm},
    nightly,
    step::Steps,
    system::SystemChanges,
};
use crate::{exec, workspace};

/// Debian's compiler for web browsers (the newest that a stable release has), the source of `core`, which has to be
/// compiled for BPF, and the LLVM of the same version with all that it takes to link bpf-linker.
pub(crate) const PACKAGES: [&str; 8] = [
    "rustc-web",
    "rust-web-src",
    "cargo-web",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libzstd-dev",
    "zlib1g-dev",
    "pkg-config",
];
/// The clippy of that compiler.
pub(crate) const CLIPPY_PACKAGE: &str = "rust-web-clippy";
const WHY: &str = "they compile the kernel side";

/// Compiles and links for BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// rustup's nightly with rust-src.
    Rustup { linker: PathBuf },
    /// Debian's rustc-web.
    Debian { linker: PathBuf },
}

/// How to come by a toolchain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is there.
    Ready(Toolchain),
    /// By apt, and a bpf-linker that is compiled here, for Debian's LLVM.
    Debian,
    /// By rustup, and a bpf-linker that is compiled here, for nightly's LLVM.
    Rustup,
    /// We cannot.
    ByHand,
}

/// What a plan is made from.
#[derive(Default)]
struct Facts {
    nightly_with_source: bool,
    linker_on_path: Option<PathBuf>,
    /// Compiled here, for nightly's LLVM.
    linker_for_nightly: Option<PathBuf>,
    /// Compiled here, and the packages that it goes with are installed.
    linker_for_debian: Option<PathBuf>,
    is_debian: bool,
    has_rustup: bool,
}

/// Looks around; reads files, and starts programs only where files do not tell.
pub(crate) fn plan() -> Plan {
    let found = nightly::with_source();
    let nightly_with_source = found.is_some();
    let linker_on_path = exec::find("bpf-linker").filter(|file| nightly_with_source && linker::works(file));
    let settled = linker_on_path.is_some();
    choose(Facts {
        nightly_with_source,
        linker_on_path,
        linker_for_nightly: found.as_deref().and_then(Llvm::of_nightly).and_then(|llvm| llvm.linker()),
        linker_for_debian: Llvm::Debian.linker().filter(|_| !settled && apt::missing(&PACKAGES).is_empty()),
        is_debian: apt::exists() && runs_debian(),
        has_rustup: exec::find("rustup").is_some(),
    })
}

fn choose(facts: Facts) -> Plan {
    match facts {
        Facts { nightly_with_source: true, linker_on_path: Some(linker), .. } => {
            Plan::Ready(Toolchain::Rustup { linker })
        }
        Facts { linker_for_debian: Some(linker), .. } => Plan::Ready(Toolchain::Debian { linker }),
        Facts { nightly_with_source: true, linker_for_nightly: Some(linker), .. } => {
            Plan::Ready(Toolchain::Rustup { linker })
        }
        Facts { is_debian: true, .. } => Plan::Debian,
        Facts { has_rustup: true, .. } => Plan::Rustup,
        Facts { .. } => Plan::ByHand,
    }
}

impl Plan {
    /// Whether the kernel side is, or will be, compiled by Debian's toolchain.
    pub(crate) fn is_debians(&self) -> bool {
        matches!(self, Self::Debian | Self::Ready(Toolchain::Debian { .. }))
    }

    /// Notes what the plan needs from the system.
    pub(crate) fn system_part(&self, changes: &mut SystemChanges, steps: &Steps) {
        match self {
            Self::Ready(Toolchain::Rustup { .. }) => steps.there("rustup's nightly with rust-src", WHY),
            Self::Ready(Toolchain::Debian { .. }) => steps.there(&PACKAGES.join(" "), WHY),
            Self::Debian => match apt::missing(&PACKAGES) {
                missing if missing.is_empty() => steps.there(&PACKAGES.join(" "), WHY),
                missing => changes.want(missing),
            },
            Self::Rustup | Self::ByHand => {}
        }
    }

    /// Carries out the rest, as the user.
    pub(crate) fn user_part(self, steps: &mut Steps) -> Result<Toolchain> {
        match self {
            Self::Ready(toolchain) => {
                steps.there(&toolchain.linker().display().to_string(), "it links the kernel side");
                Ok(toolchain)
            }
            Self::Debian => Ok(Toolchain::Debian { linker: linker::compile(&Llvm::Debian, steps)? }),
            Self::Rustup => Ok(Toolchain::Rustup { linker: nightly::complete(steps)? }),
            Self::ByHand => bail!(
                "the kernel side needs a Rust compiler for BPF, and this system has neither rustup nor Debian's \
                 packages. Install rustup (https://rustup.rs), then `rustup toolchain install nightly --component \
                 rust-src` and bpf-linker (https://github.com/aya-rs/bpf-linker), and run this again"
            ),
        }
    }
}

impl Toolchain {
    /// bpf-linker.
    pub(crate) fn linker(&self) -> &Path {
        match self {
            Self::Rustup { linker } | Self::Debian { linker } => linker,
        }
    }

    /// This toolchain's compiler.
    pub(crate) fn rustc(&self) -> Command {
        match self {
            Self::Rustup { .. } => nightly::rustc(),
            Self::Debian { .. } => Command::new("/usr/bin/rustc"),
        }
    }

    /// This toolchain's cargo, with nothing left of the one that started us.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = match self {
            Self::Rustup { .. } => nightly::cargo(),
            // cargo would find rustup's cargo-clippy first, and that starts another compiler.
            Self::Debian { .. } if subcommand == "clippy" => Command::new("/usr/bin/cargo-clippy"),
            Self::Debian { .. } => Command::new("/usr/bin/cargo"),
        };
        workspace::forget_cargo(&mut cargo);
        if let Self::Debian { .. } = self {
            cargo.env("CARGO", "/usr/bin/cargo").env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
            // A stable compiler takes what it can compile; the nightly takes the lock file as it is.
            cargo.env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback");
        }
        cargo.arg(subcommand);
        cargo
    }
}

/// Whether this machine's system is Debian.
pub(super) fn runs_debian() -> bool {
    is_debian(&fs::read_to_string("/etc/os-release").unwrap_or_default())
}

/// Whether `/etc/os-release` is Debian's own. Its descendants, Ubuntu first, lack the compiler for browsers.
fn is_debian(release: &str) -> bool {
    release.lines().any(|line| matches!(line.trim(), "ID=debian" | "ID=\"debian\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_has_comes_first() {
        let facts = Facts {
            nightly_with_source: true,
            linker_on_path: Some("user".into()),
            linker_for_debian: Some("ours".into()),
            ..Default::default()
        };
        assert_eq!(choose(facts), Plan::Ready(Toolchain::Rustup { linker: "user".into() }));
    }

    #[test]
    fn a_nightly_without_source_does_not_count() {
        let facts = Facts {
            linker_on_path: Some("user".into()),
            linker_for_debian: Some("ours".into()),
            ..Default::default()
        };
        assert_eq!(choose(facts), Plan::Ready(Toolchain::Debian { linker: "ours".into() }));
    }

    #[test]
    fn a_fresh_machine_goes_by_what_it_is() {
        assert_eq!(choose(Facts { is_debian: true, has_rustup: true, ..Default::default() }), Plan::Debian);
        assert_eq!(choose(Facts { has_rustup: true, ..Default::default() }), Plan::Rustup);
        assert_eq!(choose(Facts::default()), Plan::ByHand);
    }

    #[test]
    fn debian_is_told_from_its_descendants() {
        assert!(is_debian("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n"));
        assert!(!is_debian("ID=ubuntu\nID_LIKE=debian\n"));
    }
}
