//! What a cgroup uses, on kernels and hosts with one version of cgroups or with both: in the virtual machines memory is
//! accounted by version 2 alone.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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

const TAKEN: u64 = 64 << 20;

/// Takes and fills memory when it is told to, then burns CPU time when it is told so again.
const SCRIPT: &str = r"
use strict; use warnings; use Time::HiRes qw(clock);
my ($bytes, $seconds) = @ARGV;
my $held = '';
my @tasks = (
    sub { vec($held, $bytes - 1, 8) = 1 },
    sub { my $end = clock() + $seconds; 1 while clock() < $end },
);
my $told = 0;
$SIG{USR1} = sub { $tasks[$told++]->(); syswrite(STDERR, 'done') };
syswrite(STDERR, 'ready');
sleep 1 while 1;
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
    command.args(["-e", SCRIPT, &TAKEN.to_string(), "0.5"]);
    for cgroup in [Some(unified), version1].into_iter().flatten() {
        cgroup.enter(&mut command)?;
    }
    let process = Process::spawn(&mut command)?;
    let says = |words: &str| poll::until(words, || Ok(process.stderr()?.ends_with(words).then_some(())));
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(process.id())?))?;
    let used = || -> Result<f64> { Ok(Duration::from(clock_gettime(clock)?).as_secs_f64()) };
    says("ready")?;
    let before = cgroup::read(&place);
    process.signal(Signal::SIGUSR1)?;
    says("readydone")?;
    let held = cgroup::read(&place);
    let memory = |usage: &Usage| usage.memory.context("memory is not accounted");
    within(0.02, "bytes taken", (memory(&held)? - memory(&before)?) as f64, TAKEN as f64)?;
    process.signal(Signal::SIGUSR1)?;
    says("donedone")?;
    let seconds = cgroup::read(&place).cpu.context("CPU time is not accounted")?.as_secs_f64();
    within(0.02, "CPU seconds", seconds, used()?)?;
    ensure!(seconds > 0.5, "{seconds} s");
    Ok(())
}

/// What docs/metrics.md says of it.
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
