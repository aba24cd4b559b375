//! The platforms that an image can be for, under the names that runtimes give them.

use std::{env, path::PathBuf};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::workspace;

/// A processor, under Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Platform {
    /// 64-bit x86
    #[value(name = "linux/amd64")]
    Amd64,
    /// 64-bit ARM
    #[value(name = "linux/arm64")]
    Arm64,
}

impl Platform {
    /// This machine's.
    pub(super) fn own() -> Result<Self> {
        let own = Self::value_variants().iter().find(|platform| platform.is_own());
        match own {
            Some(platform) => Ok(*platform),
            None => bail!(
                "images are for x86_64 and aarch64, and this machine is neither: it is {}",
                env::consts::ARCH
            ),
        }
    }

    /// Whether what is built for it runs here.
    pub(super) fn is_own(self) -> bool {
        self.architecture() == env::consts::ARCH
    }

    /// As runtimes call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "linux/amd64",
            Self::Arm64 => "linux/arm64",
        }
    }

    /// As compilers call the processor.
    pub(super) const fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// What the agent is compiled for: musl, since a binary with it needs nothing beside it.
    pub(super) fn target(self) -> String {
        format!("{}-unknown-linux-musl", self.architecture())
    }

    /// Where its binary goes, with nothing else that is as large: the directory is what a builder of images is given.
    pub(super) fn directory(self) -> PathBuf {
        let name = if self.is_own() {
            "image".to_owned()
        } else {
            format!("image-{}", self.name().replace('/', "-"))
        };
        workspace::target().join(name)
    }
}
