//! Which CPU a program runs on, and how much of it it takes.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::resource::{UsageWho, getrusage},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use probe_tests::tool;

/// The server's.
pub(crate) const SERVER: u32 = 0;
/// The load's. Apart from the server's, or each would measure the other; and no other CPU has a part, or what the
/// scheduler moves about would be most of what is measured.
pub(crate) const CLIENT: u32 = 1;

/// A command that starts a program on one CPU.
pub(crate) fn pinned(cpu: u32, program: &str) -> Result<Command> {
    let mut command = tool::command("taskset")?;
    command.args(["--cpu-list", &cpu.to_string()]).arg(tool::command(program)?.get_program());
    Ok(command)
}

/// The CPU time of all threads of a process, those that have ended too, to the nanosecond.
pub(crate) fn of_process(process: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(process.try_into()?))
        .with_context(|| format!("process {process} has no clock: has it ended?"))?;
    Ok(clock_gettime(clock)?.into())
}

/// The CPU time of all children that have ended.
pub(crate) fn of_children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(value.tv_sec() * 1_000_000 + value.tv_usec()).unwrap_or_default())
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// What the two CPUs did since the machine started, in seconds: whatever did it, and what the host took away.
#[derive(Clone, Copy, Default)]
pub(crate) struct Busy {
    pub(crate) busy: f64,
    pub(crate) stolen: f64,
}

/// Reads it from `/proc/stat`.
pub(crate) fn busy() -> Result<Busy> {
    /// `USER_HZ`, which is the same on every machine that we know.
    const TICKS: f64 = 100.0;
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let mut sum = Busy::default();
    for cpu in [SERVER, CLIENT] {
        let name = format!("cpu{cpu} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        let line =
            line.with_context(|| format!("the benchmark needs two CPUs, and there is no CPU {cpu}"))?;
        let ticks: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        ensure!(ticks.len() >= 8, "/proc/stat has a line that is too short: {line}");
        // user nice system idle iowait irq softirq steal
        sum.busy += (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) / TICKS;
        sum.stolen += ticks[7] / TICKS;
    }
    Ok(sum)
}
