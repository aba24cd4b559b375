//! `traffic-probe monitor`: runs a Postman collection against an API repeatedly, and reports the results.
//!
//! It is a process of its own with a listener of its own, apart from the agent: newman runs the scripts of a collection,
//! which are anybody's programs, and the agent holds rights over the whole machine. So it needs no rights, no BPF and no
//! kernel, can run where no agent does, and neither can stop the other. Prometheus joins the two by their labels.

mod collection;
mod failure;
mod history;
mod metrics;
mod names;
mod newman;
mod process;
mod render;
mod report;
mod results;
mod serving;
mod textfile;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::SystemTime,
};

use anyhow::Context;
use tokio::{runtime::Runtime, time::MissedTickBehavior};

use crate::{
    cli::{MonitorArgs, OutputFormat},
    least_privilege,
    live::say,
    run::Stop,
    server::{self, Limits, Web},
};
use collection::Collection;
use failure::Undone;
use history::History;
use newman::Newman;
use results::Run;

/// Threads that serve and that wait for newman.
const THREADS: usize = 2;

/// Exit code of `--once` where there was no run that could have failed.
const NO_RUN: u8 = 2;

/// Runs the collection once, or until a signal comes.
pub fn monitor(flags: &MonitorArgs) -> anyhow::Result<ExitCode> {
    least_privilege::gain_nothing();
    let runtime = runtime().context("cannot start the threads of the monitor")?;
    if flags.once { once(flags, &runtime) } else { again_and_again(flags, &runtime) }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()
}

/// Whose results they are, and by what they are got: known before the first run.
struct Monitor {
    collection: Collection,
    newman: Newman,
}

impl Monitor {
    async fn new(flags: &MonitorArgs) -> Result<Self, Undone> {
        let collection = Collection::read(&flags.collection)?;
        let newman = Newman::new(flags);
        newman.is_there().await?;
        Ok(Self { collection, newman })
    }

    async fn run(&self) -> Result<Run, Undone> {
        let results = self.newman.run().await?;
        Ok(Run { collection: self.collection.name.clone(), ..results })
    }
}

fn once(flags: &MonitorArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    let done = runtime.block_on(async {
        let mut stop = Stop::catch().map_err(|error| Undone::machine("catch signals", &error))?;
        let run = async { Monitor::new(flags).await?.run().await };
        tokio::select! {
            run = run => run,
            () = stop.wait() => Err(Undone::Stopped),
        }
    });
    if let Some(file) = &flags.textfile {
        // A collection that cannot be read has no name but that of its file.
        let name = Collection::read(&flags.collection)
            .map_or_else(|_| flags.collection.display().to_string(), |collection| collection.name);
        textfile::write(file, &name, &done)?;
    }
    let run = match done {
        Ok(run) => run,
        Err(undone) => {
            say(&format!("error: {undone}"));
            return Ok(ExitCode::from(NO_RUN));
        }
    };
    let shown = match flags.format {
        OutputFormat::Text => render::text(&run),
        OutputFormat::Json => serde_json::to_string_pretty(&run)? + "\n",
    };
    match io::stdout().lock().write_all(shown.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("cannot show the results")?,
    }
    Ok(if run.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn again_and_again(flags: &MonitorArgs, runtime: &Runtime) -> anyhow::Result<ExitCode> {
    let web = Web::read(flags.web_config.as_deref())?;
    let listener = server::bind(flags.listen)?;
    // It has no rights to give up: it runs as anybody.
    web.follow(|| ()).context("cannot start the thread that reads --web-config")?;
    let address = listener.local_addr().unwrap_or(flags.listen);
    runtime.block_on(async {
        let mut stop = Stop::catch().context("cannot catch signals")?;
        let monitor = tokio::select! {
            monitor = Monitor::new(flags) => monitor?,
            () = stop.wait() => return Ok(()),
        };
        let history =
            Arc::new(History::new(&monitor.collection.name).context("the table of metrics is malformed")?);
        let routes = serving::router(Arc::clone(&history), flags.every, flags.timeout);
        tracing::info!(
            "running {} every {}; metrics at {}://{address}/metrics",
            flags.collection.display(),
            humantime::format_duration(flags.every),
            web.scheme()
        );
        tokio::select! {
            served = server::serve(listener, routes, Limits::default(), web, Arc::default()) => served.context("cannot serve the metrics"),
            () = repeat(&monitor, flags, &history) => Ok(()),
            // Dropped with the rest, a run that goes on is killed.
            () = stop.wait() => Ok(()),
        }
    })?;
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

/// One run after the other: a start that would come while a run goes on is left out.
async fn repeat(monitor: &Monitor, flags: &MonitorArgs, history: &History) {
    let mut starts = tokio::time::interval(flags.every);
    starts.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        starts.tick().await;
        let began = SystemTime::now();
        let done = monitor.run().await;
        match &done {
            Ok(run) if run.passed => tracing::debug!("{}", render::line(run)),
            Ok(run) => tracing::warn!("{}", render::line(run)),
            Err(undone) => tracing::error!("{undone}"),
        }
        if let Ok(took) = began.elapsed()
            && took > flags.every
        {
            tracing::warn!(
                "a run took {:.1} s, but one is due every {:.1} s: raise --every",
                took.as_secs_f64(),
                flags.every.as_secs_f64()
            );
        }
        history.add(began, done);
    }
}
