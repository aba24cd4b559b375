//! Builds the agent and becomes it, so that Ctrl-C and the exit status are the agent's own.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    build, exec, privilege,
    setup::{self, Group},
    workspace,
};

/// What `run` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Passed on to `traffic-probe run`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Returns only when the agent could not be started.
pub(crate) fn run(options: &Options) -> Result<()> {
    let toolchain = setup::ensure(&[Group::Mounts])?;
    build::agent(&build::ebpf(&toolchain)?)?;
    let mut agent = if privilege::is_root() { Command::new(workspace::agent()) } else { through_sudo() };
    agent.arg("run").args(&options.arguments);
    workspace::forget_cargo(&mut agent);
    if !privilege::is_root() {
        privilege::offer("attaching eBPF programs", &agent)?;
    }
    Err(exec::replace(&mut agent))
}

fn through_sudo() -> Command {
    let settings = privilege::agent_settings();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let mut command = privilege::sudo(&settings);
    command.arg(workspace::agent());
    command
}
