//! The changes to the system that a set-up asks for: the only part that needs root.

use std::{env, process::Command};

use anyhow::{Context, Result};
use clap::Args;

use super::{apt, mounts, step::Steps};
use crate::{exec, privilege};

/// Packages to install and file systems to mount; also the arguments of the hidden `as-root`, so that what sudo is
/// asked to do stands in full in its command.
#[derive(Args, Default)]
pub(crate) struct SystemChanges {
    /// Packages to install
    #[arg(long, value_delimiter = ',')]
    pub(crate) install: Vec<String>,
    /// Directories of kernel file systems to mount
    #[arg(long, value_delimiter = ',')]
    pub(crate) mount: Vec<String>,
}

impl SystemChanges {
    /// Adds packages, each once.
    pub(crate) fn want<'a>(&mut self, packages: impl IntoIterator<Item = &'a str>) {
        for package in packages {
            if !self.install.iter().any(|wanted| wanted == package) {
                self.install.push(package.into());
            }
        }
    }

    /// Makes the changes as root.
    pub(crate) fn apply(&self) -> Result<()> {
        if !self.install.is_empty() {
            apt::install(&self.install)?;
        }
        for directory in &self.mount {
            mounts::mount(directory);
        }
        Ok(())
    }

    /// Makes the changes if we are root, else asks whether sudo shall.
    pub(crate) fn apply_or_offer(&self, steps: &mut Steps) -> Result<()> {
        if self.install.is_empty() && self.mount.is_empty() {
            return Ok(());
        }
        steps.doing(&self.in_words(), "changes to the system, which need root");
        if privilege::is_root() {
            return self.apply();
        }
        let mut sudo = self.through_sudo()?;
        privilege::offer("this change to the system", &sudo)?;
        exec::run(&mut sudo)
    }

    fn in_words(&self) -> String {
        let install = (!self.install.is_empty()).then(|| format!("installing {}", self.install.join(" ")));
        let mount = (!self.mount.is_empty()).then(|| format!("mounting {}", self.mount.join(" and ")));
        install.into_iter().chain(mount).collect::<Vec<_>>().join(", ")
    }

    fn through_sudo(&self) -> Result<Command> {
        let xtask =
            env::current_exe().context("could not find out where this program lies, to run it by sudo")?;
        let mut command = Command::new("sudo");
        command.arg(xtask).arg("as-root");
        for (flag, values) in [("--install", &self.install), ("--mount", &self.mount)] {
            if !values.is_empty() {
                command.arg(flag).arg(values.join(","));
            }
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_says_all_that_root_would_do() {
        let mut changes = SystemChanges { mount: vec!["/sys/fs/bpf".into()], ..Default::default() };
        changes.want(["wrk", "curl", "wrk"]);
        assert_eq!(changes.in_words(), "installing wrk curl, mounting /sys/fs/bpf");
        let command = exec::quoted(&changes.through_sudo().unwrap());
        assert!(command.ends_with("as-root --install wrk,curl --mount /sys/fs/bpf"), "{command}");
    }
}
