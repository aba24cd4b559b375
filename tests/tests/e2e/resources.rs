//! What services and the node use, against the kernel's clocks of processes, what a process was told to take, and the
//! kernel's own files.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    burner::Burner,
    cgroup::{Cgroup, Hierarchy},
    expect::within,
    metrics::{Scrape, Series},
    poll, ports,
};

const MIB: u64 = 1 << 20;

/// What is used, of what the test knows to the byte or the nanosecond.
const BOUND: f64 = 0.02;

/// A unit's path, whose name no other test has.
fn unit() -> Result<(String, String)> {
    let name = format!("burner-{}", ports::free()?);
    Ok((format!("system.slice/{name}.service"), name))
}

fn cpu(name: &str) -> Series {
    Series::named("traffic_service_cpu_seconds_total").with("service", name)
}

fn memory(name: &str) -> Series {
    Series::named("traffic_service_memory_bytes").with("service", name)
}

/// Waits until the agent has looked up the cgroups of a service and read them.
fn known(agent: &Agent<'_>, series: &Series) -> Result<f64> {
    poll::until(&format!("{series} to be there"), || Ok(agent.scrape()?.get(series)))
}

#[test]
fn a_services_cpu_time_is_that_of_all_processes_of_its_unit() -> Result<()> {
    let agent = Agent::start()?;
    let (path, name) = unit()?;
    // Two units of one name, as a user's and the system's may be; of the second the processes are below the unit's own
    // cgroup, as many servers have their workers.
    let cgroups = [Cgroup::new(&path)?, Cgroup::new(&format!("{path}/workers"))?];
    let burners = cgroups.each_ref().map(|cgroup| Burner::start(|command| cgroup.enter(command)));
    let burners = burners.into_iter().collect::<Result<Vec<_>>>()?;
    let used = || burners.iter().map(Burner::cpu_time).sum::<Result<f64>>();
    for burner in &burners {
        burner.burn(Duration::from_millis(10))?;
    }
    known(&agent, &cpu(&name))?;
    // Of a cgroup that came later what it used before it was known is not in the figure.
    agent.collected()?;
    let (before, at_first) = (used()?, agent.collected()?.sum(&cpu(&name)));
    burners[0].burn(Duration::from_millis(700))?;
    burners[1].burn(Duration::from_millis(300))?;
    let after = used()?;
    let scrape = agent.collected()?;
    let (rise, truth) = (scrape.sum(&cpu(&name)) - at_first, after - before);
    within(BOUND, "CPU seconds", rise, truth)
}

#[test]
fn a_first_cgroup_counts_from_when_it_was_made() -> Result<()> {
    let (path, name) = unit()?;
    let cgroup = Cgroup::new(&path)?;
    let burner = Burner::start(|command| cgroup.enter(command))?;
    burner.burn(Duration::from_millis(400))?;
    let agent = Agent::start()?;
    burner.burn(Duration::from_millis(100))?;
    known(&agent, &cpu(&name))?;
    let scrape = agent.collected()?;
    within(BOUND, "CPU seconds since its start", scrape.sum(&cpu(&name)), burner.cpu_time()?)
}

#[test]
fn a_services_memory_is_what_its_process_took() -> Result<()> {
    const TAKEN: u64 = 96 * MIB;
    let agent = Agent::start()?;
    let (path, name) = unit()?;
    let cgroups = Cgroup::accounting("memory", &path)?;
    let burner = Burner::start(|command| cgroups.iter().try_for_each(|cgroup| cgroup.enter(command)))?;
    burner.burn(Duration::ZERO)?;
    known(&agent, &memory(&name))?;
    let before = agent.collected()?.sum(&memory(&name));
    burner.hold(TAKEN)?;
    let held = agent.collected()?.sum(&memory(&name));
    within(BOUND, "bytes taken", held - before, TAKEN as f64)
}

/// Engines of hosts with both versions make a container's cgroups in version 1 alone: in version 2 it is in their own unit,
/// with what they use themselves.
#[test]
fn a_container_that_only_version_1_knows_is_not_charged_for_its_engine() -> Result<()> {
    let id = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
    let path = format!("docker/{id}");
    let engine = Cgroup::new("system.slice/containerd.service")?;
    let accounted: Vec<_> = ["cpuacct", "memory"]
        .into_iter()
        .filter_map(|controller| Cgroup::of_version1(controller, &path).transpose())
        .collect::<Result<_>>()?;
    // On a host without those, one that accounts for nothing: there the container has a name, and no figures.
    let hierarchy = Hierarchy::mount()?;
    let named = hierarchy.cgroup(&path)?;
    let agent = Agent::start()?;
    let all = || [&engine, &named].into_iter().chain(&accounted);
    let container = Burner::start(|command| all().try_for_each(|cgroup| cgroup.enter(command)))?;
    let daemon = Burner::start(|command| engine.enter(command))?;
    for burner in [&container, &daemon] {
        burner.burn(Duration::from_millis(300))?;
    }
    known(&agent, &cpu("containerd"))?;
    let scrape = agent.collected()?;
    let named = Series::named("traffic_connections_opened_total").with("service", &id[..12]);
    ensure!(scrape.sum(&named) > 0.0, "the container has no name");
    if accounted.is_empty() {
        ensure!(scrape.get(&cpu(&id[..12])).is_none(), "the engine's figures are taken for the container's");
        return Ok(());
    }
    within(BOUND, "the container's CPU seconds", scrape.sum(&cpu(&id[..12])), container.cpu_time()?)?;
    ensure!(scrape.sum(&memory(&id[..12])) > MIB as f64, "its memory is not accounted");
    Ok(())
}

#[test]
fn who_shares_a_cgroup_has_no_figures() -> Result<()> {
    let agent = Agent::start()?;
    let cgroup = Cgroup::new("user.slice/user-1000.slice/session-7.scope")?;
    let burner = Burner::start(|command| cgroup.enter(command))?;
    burner.burn(Duration::from_millis(10))?;
    let (path, name) = unit()?;
    let other = Cgroup::new(&path)?;
    let later = Burner::start(|command| other.enter(command))?;
    later.burn(Duration::from_millis(10))?;
    // Once the one that came later is there, the other one was looked at.
    known(&agent, &cpu(&name))?;
    let scrape = agent.collected()?;
    ensure!(
        scrape.sum(&Series::named("traffic_connections_opened_total").with("port", burner.port())) > 0.0,
        "the service is not known"
    );
    ensure!(scrape.get(&cpu("burner")).is_none(), "a session's CPU time is taken for a service's");
    Ok(())
}

/// Fails unless a figure was read between two others, but for the last bits, which depend on how it was put together.
fn between(what: &str, from: f64, figure: f64, to: f64) -> Result<()> {
    const LAST_BITS: f64 = 1e-7;
    ensure!(
        from - LAST_BITS <= figure && figure <= to + LAST_BITS,
        "{what}: {figure}, not from {from} to {to}"
    );
    Ok(())
}

/// Seconds in a file of pressure.
fn stalled(file: &Path, extent: &str) -> Result<f64> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let line = text.lines().find(|line| line.starts_with(extent)).with_context(|| text.clone())?;
    let total = line.rsplit_once("total=").context("a total")?.1;
    Ok(total.trim().parse::<f64>()? / 1e6)
}

#[test]
fn two_that_share_a_cpu_wait_for_it() -> Result<()> {
    const EACH: Duration = Duration::from_millis(800);
    let agent = Agent::start()?;
    let (path, name) = unit()?;
    let cgroup = Cgroup::new(&path)?;
    let burners = [(); 2].map(|()| Burner::start(|command| cgroup.enter(command)));
    let burners = burners.into_iter().collect::<Result<Vec<_>>>()?;
    for burner in &burners {
        burner.pin(0)?;
        burner.burn(Duration::ZERO)?;
    }
    let pressure = Series::named("traffic_service_pressure_seconds_total")
        .with("service", &name)
        .with("resource", "cpu")
        .with("extent", "some");
    let before = known(&agent, &pressure)?;
    thread::scope(|scope| {
        let burning: Vec<_> = burners.iter().map(|burner| scope.spawn(|| burner.burn(EACH))).collect();
        burning
            .into_iter()
            .try_for_each(|burning| burning.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
    })?;
    let file = cgroup.directory().join("cpu.pressure");
    let (from, scrape, to) = (stalled(&file, "some")?, agent.collected()?, stalled(&file, "some")?);
    let figure = scrape.sum(&pressure);
    println!("waited {:.3} s; the kernel says from {from:.3} to {to:.3} s", figure - before);
    between("waited", from, figure, to)?;
    // While one runs the other waits, until the first one is done.
    ensure!(figure - before >= EACH.as_secs_f64(), "two at a time on one CPU, and nobody waited");
    Ok(())
}

/// The fields of `/proc/stat` for all CPUs, in seconds: user, nice, system, idle, iowait, irq, softirq, steal.
fn cpu_times() -> Result<Vec<f64>> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    // USER_HZ is 100 on every architecture that the probe is for.
    line.split_whitespace().skip(1).take(8).map(|field| Ok(field.parse::<f64>()? / 100.0)).collect()
}

fn meminfo(field: &str) -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.split(':').next() == Some(field)).context("a field")?;
    Ok(line.split_whitespace().nth(1).context("a figure")?.parse::<f64>()? * 1024.0)
}

fn loads() -> Result<Vec<f64>> {
    let text = fs::read_to_string("/proc/loadavg")?;
    text.split(' ').take(3).map(|average| Ok(average.parse()?)).collect()
}

fn node_cpu(scrape: &Scrape, mode: &str) -> f64 {
    scrape.sum(&Series::named("traffic_node_cpu_seconds_total").with("mode", mode))
}

#[test]
fn the_nodes_figures_are_procfss() -> Result<()> {
    let agent = Setup::default().start()?;
    let from = cpu_times()?;
    let files = ["cpu", "memory", "io"].map(|resource| Path::new("/proc/pressure").join(resource));
    let stalls = || files.iter().map(|file| stalled(file, "some")).collect::<Result<Vec<_>>>();
    let (stalled_from, loads_before, scrape) = (stalls()?, loads()?, agent.collected()?);
    let (to, stalled_to) = (cpu_times()?, stalls()?);
    // Idle and iowait of a CPU that sleeps may be seen to go back a little.
    for (index, mode) in [(0, "user"), (2, "system"), (6, "softirq")] {
        between(mode, from[index], node_cpu(&scrape, mode), to[index])?;
    }
    let series = |name, label, value: &str| scrape.sum(&Series::named(name).with(label, value));
    for (index, resource) in ["cpu", "memory", "io"].into_iter().enumerate() {
        let pressure = Series::named("traffic_node_pressure_seconds_total").with("resource", resource);
        let figure = scrape.sum(&pressure.with("extent", "some"));
        between(resource, stalled_from[index], figure, stalled_to[index])?;
    }
    let memory = |state| series("traffic_node_memory_bytes", "state", state);
    within(1e-9, "memory", memory("used") + memory("available"), meminfo("MemTotal")?)?;
    within(0.05, "memory available", memory("available"), meminfo("MemAvailable")?)?;
    let load = series("traffic_node_load", "period", "1m");
    let (loads_from, loads_to) = (loads_before[0], loads()?[0]);
    // It changes once in five seconds.
    ensure!([loads_from, loads_to].contains(&load), "load {load}, neither {loads_from} nor {loads_to}");
    let online = fs::read_to_string("/proc/stat")?.lines().filter(|line| line.starts_with("cpu")).count() - 1;
    within(0.0, "CPUs", scrape.sum(&Series::named("traffic_node_cpus")), online as f64)
}

#[test]
fn what_a_process_burns_is_among_the_nodes_cpu_time() -> Result<()> {
    let agent = Setup::default().alone().start()?;
    let burner = Burner::start(|_| Ok(()))?;
    let busy =
        |scrape: &Scrape| ["user", "nice", "system"].map(|mode| node_cpu(scrape, mode)).iter().sum::<f64>();
    let all = |scrape: &Scrape| scrape.sum(&Series::named("traffic_node_cpu_seconds_total"));
    let before = agent.collected()?;
    let used = burner.cpu_time()?;
    burner.burn(Duration::from_secs(1))?;
    let used = burner.cpu_time()? - used;
    let after = agent.collected()?;
    let (rise, all) = (busy(&after) - busy(&before), all(&after) - all(&before));
    println!("{rise:.3} s of {all:.3} s, of which the process used {used:.3} s");
    ensure!(rise >= used - 0.02 && rise <= all, "{rise} of {all} s");
    Ok(())
}
