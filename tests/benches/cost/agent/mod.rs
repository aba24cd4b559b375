//! What the agent takes, by the number of series that it has to show: CPU time and memory at its ticks, and what a scrape
//! takes, while nothing else happens and at full load.

mod forms;
mod series;

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use probe_tests::{
    agent::{Agent, Setup},
    machine,
    machine::Use,
    tool,
};
use serde_json::{Value, json};

use self::{forms::Form, series::Services};
use crate::{
    Measured,
    application::{Load, Server},
    cpu,
    options::Options,
    paired::Spread,
    table::Table,
};

/// Numbers of series.
const SERIES: [u32; 4] = [100, 1_000, 10_000, 100_000];

/// Scrapes whose time is taken.
const SCRAPES: usize = 5;

/// Scrapes a minute, every 15 s.
const SCRAPES_A_MINUTE: f64 = 4.0;

/// What an agent takes with a number of series.
struct Taken {
    series: u32,
    /// From its start until it counted.
    start: Duration,
    /// Part of a CPU that its ticks take, while nothing else happens, and at full load.
    ticks: [f64; 2],
    /// Requests a second of that load.
    load: f64,
    /// Resident, in KiB.
    resident: u64,
    /// Wall time of each scrape, as its client sees it.
    scrapes: Vec<f64>,
    /// CPU time of a scrape, in seconds.
    scrape_cpu: f64,
    /// Bytes of a scrape.
    bytes: usize,
    /// What it is in each format and coding.
    forms: Vec<Form>,
}

/// Measures each number of series.
pub(crate) fn measure(options: &Options) -> Result<Measured> {
    // A listener, a client and what was accepted for each service.
    tool::raise_descriptor_limit(4_096)?;
    let mut all = Vec::new();
    let admitted = |series: &u32| options.admits(&format!("{series} series"));
    for series in SERIES.into_iter().filter(admitted) {
        eprintln!("bench:   an agent with {series} series");
        let taken = once(series, options).with_context(|| format!("with {series} series"))?;
        all.push(taken);
    }
    let forms = all.iter().map(|taken| (taken.series, &*taken.forms));
    Ok(Measured { tables: vec![table(&all), forms::table(forms)], rounds: json(&all) })
}

fn once(series: u32, options: &Options) -> Result<Taken> {
    let _alone = machine::take(Use::Alone)?;
    let setup = Setup::default().ticking_every("1s").in_our_turn().flags(&["--histograms", "native"]);
    // What the table has room for by default is left as it is where it does.
    let setup = if series > 50_000 { setup.flags(&["--max-series", "262144"]) } else { setup };
    let agent = setup.start()?;
    let services = Services::start(series)?;
    services.fill(&agent, series)?;
    let time = if options.quick { Duration::from_secs(3) } else { Duration::from_secs(30) };
    let idle = ticks(&agent, || {
        thread::sleep(time);
        Ok(0.0)
    })?;
    let mut scrapes = Vec::new();
    let mut bytes = 0;
    let before = cpu::of_process(agent.id())?;
    for _ in 0..SCRAPES {
        let response = agent.get("/metrics")?;
        ensure!(response.status == 200, "/metrics answers {}", response.status);
        scrapes.push(response.duration.as_secs_f64());
        bytes = response.body.len();
    }
    // A tick in between is a part of this, and at most one part in five.
    let scrape_cpu = cpu::of_process(agent.id())?.saturating_sub(before).as_secs_f64() / SCRAPES as f64;
    let forms = forms::measure(&agent)?;
    let server = Server::start(Load::Small)?;
    let rate = Load::Small.warm_up(&server)?;
    let busy = ticks(&agent, || {
        let done = Load::Small.run(&server, time, rate)?;
        Ok(done.requests as f64 / done.time.as_secs_f64())
    })?;
    Ok(Taken {
        series,
        start: agent.time_to_start(),
        ticks: [idle.0, busy.0],
        load: busy.1,
        resident: resident(agent.id())?,
        scrapes,
        scrape_cpu,
        bytes,
        forms,
    })
}

/// The part of a CPU that an agent takes meanwhile, and what was done.
fn ticks(agent: &Agent, meanwhile: impl FnOnce() -> Result<f64>) -> Result<(f64, f64)> {
    let before = cpu::of_process(agent.id())?;
    let started = std::time::Instant::now();
    let done = meanwhile()?;
    let took = cpu::of_process(agent.id())?.saturating_sub(before);
    Ok((took.as_secs_f64() / started.elapsed().as_secs_f64(), done))
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("/proc tells no VmRSS")?;
    Ok(number.parse()?)
}

impl Taken {
    /// Part of a CPU with a scrape every 15 s, idle and at full load.
    fn cpu(&self) -> [f64; 2] {
        self.ticks.map(|ticks| ticks + self.scrape_cpu * SCRAPES_A_MINUTE / 60.0)
    }
}

fn table(all: &[Taken]) -> Table {
    let columns = [
        "series",
        "CPU, idle",
        "CPU at full load",
        "(requests a second)",
        "CPU a minute at full load",
        "RSS, MiB",
        "scrape, ms",
        "scrape, MB",
        "start to first count, s",
    ];
    let mut table = Table::new("The agent, 1 s ticks and a scrape every 15 s", &columns);
    for taken in all {
        let [idle, busy] = taken.cpu();
        let scrape = Spread::of(&taken.scrapes);
        let scrape = scrape.map(|Spread { median, low, high }| [median, low, high].map(|time| time * 1e3));
        table.row(vec![
            taken.series.to_string(),
            format!("{:.2} %", idle * 100.0),
            format!("{:.2} %", busy * 100.0),
            format!("{:.0}", taken.load),
            format!("{:.2} s", busy * 60.0),
            format!("{:.1}", taken.resident as f64 / 1024.0),
            scrape.map_or_else(
                || "-".into(),
                |[median, low, high]| format!("{median:.1} ({low:.1}-{high:.1})"),
            ),
            format!("{:.2}", taken.bytes as f64 / 1e6),
            format!("{:.2}", taken.start.as_secs_f64()),
        ]);
    }
    table
}

fn json(all: &[Taken]) -> Value {
    let one = |taken: &Taken| {
        json!({
            "series": taken.series,
            "start_seconds": taken.start.as_secs_f64(),
            "ticks_cpu_idle": taken.ticks[0],
            "ticks_cpu_at_load": taken.ticks[1],
            "load_per_second": taken.load,
            "resident_kib": taken.resident,
            "scrapes_seconds": taken.scrapes,
            "scrape_cpu_seconds": taken.scrape_cpu,
            "scrape_bytes": taken.bytes,
            "forms": forms::json(&taken.forms),
        })
    };
    all.iter().map(one).collect()
}
