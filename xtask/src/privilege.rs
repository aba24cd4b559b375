//! Root, and how to ask for it: building stays the user's, and `sudo` is only ever run after a yes.

use std::{
    env, fs,
    io::{self, IsTerminal, Write},
    os::unix::fs::MetadataExt,
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::exec;

/// Whether we may change the system. The owner of `/proc/self` is our effective user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// `sudo` for a program, with the settings that must not get lost on the way: sudo drops the environment.
pub(crate) fn sudo(settings: &[(&str, String)]) -> Command {
    let mut command = Command::new("sudo");
    if !settings.is_empty() {
        command.arg("env");
    }
    command.args(settings.iter().map(|(name, value)| format!("{name}={value}")));
    command
}

/// The settings of the agent that the user made in the environment.
pub(crate) fn agent_settings() -> Vec<(String, String)> {
    env::vars().filter(|(name, _)| name.starts_with("TRAFFIC_PROBE_") || name == "RUST_LOG").collect()
}

/// Says why root is needed and by which command, and asks whether to run it. A no, and a pipe, are errors.
pub(crate) fn offer(why: &str, command: &Command) -> Result<()> {
    let shown = exec::quoted(command);
    let sentence = format!("{why} needs root, and this user is not. Run this as it stands:\n\n    {shown}\n");
    if exec::find("sudo").is_none() {
        bail!("{sentence}\nThere is no sudo here: become root first, and leave out the word `sudo`.");
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        bail!("{sentence}");
    }
    eprint!("{sentence}\nRun it now? [y/N] ");
    io::stderr().flush().context("could not write to the terminal")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("could not read an answer from the terminal")?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    bail!("{why} was declined");
}
