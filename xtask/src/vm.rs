//! Runs a program under another kernel: in a virtual machine that has this machine's files, read-only, with what it
//! writes kept in its memory. It has no network but a loopback device of its own.

mod boot;
mod guest;
mod initramfs;

use std::{
    env, fs,
    path::PathBuf,
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::boot::{Accelerator, Ended};
use crate::{exec, harness, setup};

/// The longest that a program may run there.
const LIMIT: Duration = Duration::from_mins(30);

/// What `in-kernel` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// It is a program of tests: say in each line which kernel it is, tell times, and end it when a test hangs
    #[arg(long)]
    tests: bool,
    /// The kernel's series, such as 6.1
    series: String,
    /// What to run under it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// How cargo is to start a test: through us, under a kernel.
pub(crate) fn runner(series: &str) -> Result<Vec<String>> {
    Ok(vec![harness::own_path()?, "in-kernel".into(), "--tests".into(), series.into()])
}

/// Runs a program under a kernel, and ends with its status.
pub(crate) fn in_kernel(options: &Options) -> Result<()> {
    let machine = setup::machine(&options.series)?;
    let scratch = Scratch::new()?;
    let init = guest::init(&command(options)?, &machine.kernel.modules(), LIMIT)?;
    let initramfs = initramfs::pack(&machine, &init, &scratch.0)?;
    for accelerator in Accelerator::candidates() {
        let tag = if options.tests { format!("{}: ", options.series) } else { String::new() };
        let (machine, initramfs) = (&machine, &initramfs);
        let boot = boot::Boot { machine, initramfs, accelerator, scratch: &scratch.0, tag };
        match boot.run(LIMIT)? {
            Ended::Status(0) => return Ok(()),
            // As if it had been started here: cargo says the rest.
            Ended::Status(status) => {
                drop(scratch);
                process::exit(status)
            }
            Ended::NeverStarted { said } => {
                eprint!("{said}");
                eprintln!("kernels: {} did not start {}", accelerator.name(), machine.kernel.release);
            }
        }
    }
    bail!("the kernel {} did not start in a virtual machine", machine.kernel.release)
}

/// What is to run, with the settings that the tests look at, where we were started.
fn command(options: &Options) -> Result<Command> {
    let (program, arguments) = options.command.split_first().context("there is nothing to run")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(env::current_dir().context("could not find out the current directory")?);
    command.env("PATH", exec::search_path()).env("HOME", "/root");
    let passed =
        |name: &str| ["TRAFFIC_PROBE_", "RUST_", "PROPTEST_"].iter().any(|prefix| name.starts_with(prefix));
    command.envs(env::vars().filter(|(name, _)| passed(name)));
    if options.tests {
        command.args(harness::TIMES).env(harness::UNSTABLE.0, harness::UNSTABLE.1);
    }
    Ok(command)
}

/// A directory for what one run needs, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    /// In the system's directory for such things: a socket's path must be short.
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("traffic-probe-vm-{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("could not create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("kernels: could not remove {}: {error}", self.0.display());
        }
    }
}
