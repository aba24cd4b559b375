//! What a cgroup uses, on kernels and hosts with one version of cgroups or with both: in the virtual machines memory is
//! accounted by version 2 alone.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};
use nix::{
    sys::signal::Signal,
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use probe_tests::{cgroup::Cgroup, expect::within, poll, process::Process, tool};
use probe_user::{
    attribution::OwnCgroups,
    resources::cgroup::{self, Usage},
};

const TAKEN: u64 = 256 << 20;
const SECONDS: f64 = 0.5;

/// Takes and fills memory, then burns CPU time, and stands still before, between and after: what has been used is the same
/// then wherever it is read.
const SCRIPT: &str = r"
use strict; use warnings; use Time::HiRes qw(clock);
my ($bytes, $seconds) = @ARGV;
my $held = '';
my @tasks = (
    sub { vec($held, $bytes - 1, 8) = 1 },
    sub { my $end = clock() + $seconds; 1 while clock() < $end },
);
for my $task (@tasks) {
    kill STOP => $$;
    $task->();
}
kill STOP => $$;
";

#[test]
fn a_cgroups_memory_and_cpu_time_are_what_its_process_took() -> Result<()> {
    let cgroups = Cgroup::accounting("memory", "system.slice/holder.service")?;
    let [memory, .., unified] = &cgroups[..] else { return both(&cgroups[0], None) };
    both(unified, Some(memory))
}

fn both(unified: &Cgroup, version1: Option<&Cgroup>) -> Result<()> {
    println!("memory is accounted by version {}", if version1.is_some() { 1 } else { 2 });
    let place = OwnCgroups {
        unified: Some(unified.directory().to_owned()),
        cpu: None,
        memory: version1.map(|cgroup| cgroup.directory().to_owned()),
    };
    let mut command = tool::command("perl")?;
    command.args(["-e", SCRIPT, &TAKEN.to_string(), &SECONDS.to_string()]);
    for cgroup in [Some(unified), version1].into_iter().flatten() {
        cgroup.enter(&mut command)?;
    }
    let process = Process::spawn(&mut command)?;
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(process.id())?))?;
    let standing = || -> Result<(Usage, f64)> {
        poll::until("the process to stand still", || Ok(stands_still(&process)?.then_some(())))?;
        Ok((cgroup::read(&place), Duration::from(clock_gettime(clock)?).as_secs_f64()))
    };
    let go_on = || process.signal(Signal::SIGCONT);
    let (before, _) = standing()?;
    go_on()?;
    let (held, began) = standing()?;
    let memory = |usage: &Usage| usage.memory.context("memory is not accounted");
    within(0.02, "bytes taken", (memory(&held)? - memory(&before)?) as f64, TAKEN as f64)?;
    go_on()?;
    let (burnt, ended) = standing()?;
    let cpu = |usage: &Usage| Ok::<_, Error>(usage.cpu.context("CPU time is not accounted")?.as_secs_f64());
    let seconds = cpu(&burnt)? - cpu(&held)?;
    within(0.001, "CPU seconds", seconds, ended - began)?;
    ensure!(seconds > SECONDS * 0.98, "{seconds} s");
    Ok(())
}

/// A process that was told to go on stands still no longer once that call has returned.
fn stands_still(process: &Process) -> Result<bool> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    Ok(status.contains("\nState:\tT"))
}

/// What docs/reference/metrics.md says of it.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_reading() -> Result<()> {
    const CGROUPS: u32 = 256;
    const ROUNDS: u32 = 20;
    let mut places = Vec::new();
    let mut cgroups = Vec::new();
    for number in 0..CGROUPS {
        let made = Cgroup::accounting("memory", &format!("system.slice/cost-{number}.service"))?;
        let directory = |cgroup: Option<&Cgroup>| cgroup.map(|cgroup| cgroup.directory().to_owned());
        let version1 = made.first().filter(|_| made.len() > 1);
        places.push(OwnCgroups { unified: directory(made.last()), cpu: None, memory: directory(version1) });
        cgroups.push(made);
    }
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for place in &places {
            ensure!(cgroup::read(place).cpu.is_some(), "{place:?} has gone");
        }
    }
    println!("{:?} a cgroup", began.elapsed() / (CGROUPS * ROUNDS));
    let began = Instant::now();
    for _ in 0..ROUNDS {
        probe_user::resources::node::read()?;
    }
    println!("{:?} for the node", began.elapsed() / ROUNDS);
    Ok(())
}
