//! Many pods, in the cgroups of each runtime, that come and go: each request under the pod that served it and the pod that sent
//! it. All have the same address and the same port, each in a network namespace of its own.
//!
//! By default there are 150 of them, and 3 s of coming and going; `TRAFFIC_PROBE_MANY_PODS=1` has 1,000, and a minute of it.

mod turnover;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    cgroup::Cgroup,
    metrics::Series,
    pods::{Pod, Work},
    poll,
};

/// The program that runs in each.
const PROGRAM: &str = env!("CARGO_BIN_EXE_pod");

/// How many of them come, and go, in a second.
const CHURN: u32 = 50;

/// What the chart grants the agent.
const MEMORY: u64 = 256 << 20;

/// How long a runtime takes from a container's cgroup to its program: for as long the agent's thread that hears of cgroups may
/// wait for a processor.
const STARTING: Duration = Duration::from_millis(100);

/// Of a service that is gone.
const IDLE: Duration = Duration::from_secs(10);

/// Requests by pod, container and role.
type Counts = BTreeMap<[String; 3], u64>;

struct Scale {
    pods: u32,
    time: Duration,
    /// Between two passes of the agent.
    interval: &'static str,
}

impl Scale {
    fn asked_for() -> Self {
        if env::var_os("TRAFFIC_PROBE_MANY_PODS").is_some() {
            // As the agent does it unless told otherwise: what it takes is to be what it takes its users.
            Self { pods: 1000, time: Duration::from_mins(1), interval: "1s" }
        } else {
            Self { pods: 150, time: Duration::from_secs(3), interval: "200ms" }
        }
    }
}

/// What the agent has taken of memory and of processors' time, by the kernel's account.
fn taken(agent: &Agent<'_>) -> Result<(u64, Duration)> {
    const TICKS: u64 = 100;
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", agent.id()));
    let status = read("status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    let stat = read("stat")?;
    let fields: Vec<_> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok((kibibytes << 10, Duration::from_millis(ticks * 1000 / TICKS)))
}

/// The requests of our pods in the agent's figures: a real node may run beside them.
fn counted(agent: &Agent<'_>) -> Result<Counts> {
    counts_in(&String::from_utf8(agent.get("/metrics")?.body)?)
}

/// The same in a page of metrics.
fn counts_in(text: &str) -> Result<Counts> {
    let mut counts = Counts::new();
    // Of a page with thousands of histograms only these are parsed.
    for line in text.lines().filter(|line| line.starts_with("traffic_requests_total{")) {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let Some(pod) = label("pod").filter(|uid| Pod::is_ours(uid)) else { continue };
        if let (Some(container), Some(role)) = (label("container"), label("role")) {
            let (_, value) = line.rsplit_once(' ').context("no value")?;
            *counts.entry([pod, container, role]).or_default() += value.parse::<u64>()?;
        }
    }
    Ok(counts)
}

fn add(expected: &mut Counts, pod: &Pod) {
    for role in ["server", "client"] {
        let key = [pod.uid.clone(), pod.container.clone(), role.to_owned()];
        expected.insert(key, u64::from(pod.work.requests));
    }
}

/// What was ever counted: pods that are gone leave the figures before the test is over.
#[derive(Default)]
struct Seen(Mutex<Counts>);

impl Seen {
    fn look(&self, agent: &Agent<'_>) -> Result<()> {
        self.note(counted(agent)?);
        Ok(())
    }

    fn note(&self, now: Counts) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, count) in now {
            let known = seen.entry(key).or_default();
            *known = count.max(*known);
        }
    }

    /// How many differ from what was sent, with some of them.
    fn differences(&self, expected: &Counts) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = seen.keys().chain(expected.keys()).collect::<BTreeSet<_>>();
        let wrong: Vec<_> = keys.into_iter().filter(|key| seen.get(*key) != expected.get(*key)).collect();
        let some = wrong
            .iter()
            .take(5)
            .map(|key| format!("{key:?} has {:?} instead of {:?}", seen.get(*key), expected.get(*key)));
        let some = some.collect::<Vec<_>>().join("; ");
        (!wrong.is_empty()).then(|| format!("{} of {}: {some}", wrong.len(), expected.len()))
    }
}

/// Pods that live for as long as a few requests take: so many a second, and each is gone before anybody looks. `goes_on` is asked
/// after how many, and how long.
fn come_and_go(
    cgroup: &Cgroup,
    first: u32,
    goes_on: impl Fn(u32, Duration) -> bool,
    expected: &mut Counts,
) -> Result<u32> {
    let began = Instant::now();
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let ends = scope.spawn(move || {
            receiver.into_iter().try_for_each(|(mut pod, began): (Pod, Instant)| {
                thread::sleep((began + STARTING).saturating_duration_since(Instant::now()));
                pod.begin()?;
                // Killed, with its cgroups removed, in the moment in which it has its last answer.
                pod.is_done()
            })
        });
        let mut came = 0;
        while goes_on(came, began.elapsed()) {
            let work = Work { requests: 2 + came % 7, pause: 0 };
            let start = Instant::now();
            let pod = Pod::start(PROGRAM, cgroup.directory(), first + came, work)?;
            add(expected, &pod);
            if sender.send((pod, start)).is_err() {
                break;
            }
            came += 1;
            let due = began + Duration::from_secs(1) * came / CHURN;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        drop(sender);
        ends.join().expect("the thread that ends pods")?;
        Ok(came)
    })
}

/// Waits until what was counted is what was sent, and stays so.
fn is_exact(agent: &Agent<'_>, seen: &Seen, expected: &Counts) -> Result<()> {
    let arrived = poll::until("the counts to arrive", || {
        seen.look(agent)?;
        Ok(seen.differences(expected).is_none().then_some(()))
    });
    if arrived.is_ok() {
        agent.collected()?;
        seen.look(agent)?;
    }
    match seen.differences(expected) {
        Some(wrong) => bail!("not as they were sent: {wrong}"),
        None => arrived,
    }
}

#[test]
fn every_request_is_under_its_pod_however_many_come_and_go() -> Result<()> {
    let Scale { pods, time, interval } = Scale::asked_for();
    let cgroup = Cgroup::new("node")?;
    let idle = format!("{}s", IDLE.as_secs());
    let flags = ["--kubernetes", "on", "--node-name", "node1", "--max-services", "8192"];
    let flags =
        [&flags[..], &["--max-series", "262144", "--idle-after", &idle, "--users-window", "1s"]].concat();
    // No file of the user's says where an API server is: names are the path's.
    let setup = Setup::default().flags(&flags).ticking_every(interval).variable("KUBECONFIG", "/nonexistent");
    let mut expected = Counts::new();
    let start = |number: u32| {
        let requests = 2 * u32::try_from(time.as_secs()).unwrap_or(u32::MAX) + number % 11;
        Pod::start(PROGRAM, cgroup.directory(), number, Work { requests, pause: 500 })
    };
    // Half of them are there before it.
    let mut standing = (0..pods / 2).map(start).collect::<Result<Vec<_>>>()?;
    let agent = setup.start()?;
    let (before, _) = taken(&agent)?;
    for number in pods / 2..pods {
        standing.push(start(number)?);
    }
    for pod in &mut standing {
        pod.begin()?;
        add(&mut expected, pod);
    }
    let (seen, over) = (Seen::default(), AtomicBool::new(false));
    let (began, (_, used)) = (Instant::now(), taken(&agent)?);
    let came = thread::scope(|scope| {
        let watch = scope.spawn(|| -> Result<u64> {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                seen.look(&agent)?;
                most = most.max(taken(&agent)?.0);
                thread::sleep(Duration::from_secs(1));
            }
            Ok(most)
        });
        let came = come_and_go(&cgroup, pods, |_, gone| gone < time, &mut expected);
        over.store(true, Ordering::Relaxed);
        let most = watch.join().expect("the thread that scrapes");
        Ok::<_, anyhow::Error>((came?, most?))
    });
    let (came, most) = came?;
    let (elapsed, (_, used_then)) = (began.elapsed(), taken(&agent)?);
    println!(
        "{pods} pods, {:.1} a second came and went for {:.1} s; the agent took {:.1} % of a processor with a scrape a second, \
         and {} MiB at most, of which {} MiB before there was a request",
        f64::from(came) / elapsed.as_secs_f64(),
        elapsed.as_secs_f64(),
        used_then.saturating_sub(used).as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        most >> 20,
        before >> 20
    );
    standing.iter_mut().try_for_each(Pod::is_done)?;
    is_exact(&agent, &seen, &expected)?;
    let total: u64 = expected.values().sum();
    println!("{} requests of {} pods on both ends are under their pods", total / 2, expected.len() / 2);
    ensure!(most < MEMORY, "the agent took {most} bytes");
    drop(standing);
    nothing_is_left(&agent, &expected)
}

/// All of them are gone: so are their series, and the entries of the kernel's tables.
fn nothing_is_left(agent: &Agent<'_>, gone: &Counts) -> Result<()> {
    let services = Series::named("traffic_probe_table_entries").with("table", "services");
    let left = poll::until_within(IDLE + poll::PATIENCE, "the pods to leave the tables", || {
        if counted(agent)?.keys().any(|key| gone.contains_key(key)) {
            return Ok(None);
        }
        // Beside them there is what else goes on on the machine.
        let left = agent.scrape()?.sum(&services);
        Ok((left < gone.len() as f64 / 2.0).then_some(left))
    })?;
    println!("{} services were there, {left} are left", gone.len());
    Ok(())
}
