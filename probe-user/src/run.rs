//! `traffic-probe run`: ties kernel side, window, exporters and signals together.

mod ticker;

use std::{
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    attribution::{Attribution, cgroup2_root},
    check::privileges,
    descriptors,
    export::Exposition,
    feature::Feature,
    heap,
    instance::Instance,
    kernel::{self, Probe},
    kubernetes::{Cluster, Owner, PeerDirectory},
    latest::Latest,
    least_privilege::{self, Confinement},
    live::{Screen, ScreenKind},
    peer_names::PeerNames,
    scrapers::Scrapers,
    server::{self, Service, Web},
    settings::{PeerSettings, PeerSource, Settings},
};
use ticker::Ticker;

/// Threads that serve and wait for signals; collecting has a thread of its own.
const SERVER_THREADS: usize = 2;

/// How often a log that is no terminal says what the node does.
const SUMMARY_EVERY: Duration = Duration::from_mins(1);

/// Counts and serves until a signal comes; then everything is detached, unless it is pinned.
///
/// What can fail without touching the kernel is tried first, so that a failed start leaves nothing behind.
pub fn run(settings: &Settings, screen: &Screen) -> anyhow::Result<()> {
    privileges::demand()?;
    descriptors::raise_limit();
    let cgroup = cgroup2_root()?;
    let _instance = Instance::of_node(&settings.lock)?;
    let web = Web::read(settings.web_config.as_deref())?;
    let listener = server::bind(settings.listen)?;
    least_privilege::gain_nothing();
    let confinement = Confinement::of(&settings.cluster);
    let confined = confinement.begin();
    let runtime = runtime(confinement).context("cannot start the threads of the server")?;

    // Signals are caught before anything is attached: one that comes in between must detach too.
    let stop = runtime.block_on(async { Stop::catch() }).context("cannot catch signals")?;
    let mut probe = Probe::start(settings, &cgroup)?;
    let since = counting_since(&probe, settings);
    least_privilege::keep_for_counting();
    tracing::info!("{confined}");
    web.follow(least_privilege::keep_for_reading)
        .context("cannot start the thread that reads --web-config")?;
    let cluster = Cluster::join(&settings.cluster, &runtime);
    let owner = settings.cluster.owner.as_ref().map(|name| Owner::find(name, &runtime));
    let mut attribution = Attribution::new(cgroup.clone()).in_cluster(cluster);
    if let Err(why) = attribution.listen() {
        probe.lose(Feature::News, why);
    }
    probe.announce(&cgroup);
    probe.recall_names(&mut attribution);
    probe.name_peers_by(peer_names(settings, &runtime));
    heap::give_back();
    let latest = Arc::new(Latest::default());
    let scrapers = Arc::new(Scrapers::default());
    let exposition = Exposition::new(Arc::clone(&latest)).context("the table of metrics is malformed")?;
    let exposition = exposition.with(settings.metrics.clone()).counting_since(since);
    let ticker = Ticker {
        attribution,
        probe,
        latest: Arc::clone(&latest),
        scrapers: Arc::clone(&scrapers),
        screen: screen.clone(),
    };
    let ticking = Ticking::start(ticker, settings).context("cannot start the thread that collects")?;
    announce(&listener, settings, &web, screen);
    let service = Service { latest, exposition, scrapers, interval: settings.interval };
    let ended = runtime.block_on(serve(listener, service, settings, web, stop, ticking.ended));
    ticking.stop.shut();
    let joined = ticking.thread.join().map_err(|_| {
        anyhow!("the thread that collects failed: this is a bug, please report it with the log")
    });
    screen.finish();
    let is_pinned = joined.as_ref().is_ok_and(|is_pinned| *is_pinned);
    let uninstalled = is_pinned && owner.is_some_and(|owner| owner.is_gone(&runtime));
    runtime.shutdown_background();
    ended?;
    joined?;
    match settings.pin.as_ref().filter(|_| is_pinned) {
        None => tracing::info!("detached"),
        Some(directory) if uninstalled => {
            if let Some(removed) = kernel::remove_pinned(directory)? {
                tracing::info!("the DaemonSet is gone: removed {}: {removed}", directory.display());
            }
        }
        Some(directory) => tracing::info!(
            "stopped; the kernel keeps counting for the next agent with --pin {0}, until `traffic-probe detach --pin \
             {0}`",
            directory.display()
        ),
    }
    Ok(())
}

/// When the counters were zero: now, or when an earlier agent made those that are pinned.
fn counting_since(probe: &Probe, settings: &Settings) -> SystemTime {
    let pinned = settings.pin.as_deref().filter(|_| probe.is_pinned());
    pinned.and_then(kernel::pinned_since).unwrap_or_else(SystemTime::now)
}

/// Who tells what peers are called.
fn peer_names(settings: &Settings, runtime: &Runtime) -> PeerNames {
    let PeerSettings { networks, labels, source } = settings.peers.clone();
    let cluster =
        source.and_then(|PeerSource::EndpointSlices| PeerDirectory::follow(&settings.cluster, runtime));
    PeerNames::new(networks, labels, cluster)
}

fn runtime(confinement: Confinement) -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVER_THREADS)
        // They read what anybody sends.
        .on_thread_start(move || confinement.serve())
        .enable_all()
        .build()
}

fn announce(listener: &TcpListener, settings: &Settings, web: &Web, screen: &Screen) {
    let address = listener.local_addr().unwrap_or(settings.listen);
    tracing::info!("counting; metrics at {}://{address}/metrics", web.scheme());
    if screen.kind() == ScreenKind::Terminal {
        screen.show("waiting for the first rates");
    }
}

async fn serve(
    listener: TcpListener,
    service: Service,
    settings: &Settings,
    web: Arc<Web>,
    mut stop: Stop,
    ticks_ended: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let limits = settings.limits.within(descriptors::for_clients());
    let known = Arc::clone(&service.scrapers);
    let routes = server::router(service);
    tokio::select! {
        served = server::serve(listener, routes, limits, web, known) => served.context("cannot serve the metrics"),
        () = stop.wait() => Ok(()),
        // Its panic is reported when it is joined.
        _ = ticks_ended => Ok(()),
    }
}

/// The signals that end the agent.
pub(crate) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// The terminal has gone, and with it whoever watched.
    hangup: tokio::signal::unix::Signal,
}

impl Stop {
    pub(crate) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// The thread that collects.
struct Ticking {
    thread: thread::JoinHandle<bool>,
    stop: ticker::StopHandle,
    ended: oneshot::Receiver<()>,
}

impl Ticking {
    fn start(ticker: Ticker, settings: &Settings) -> std::io::Result<Self> {
        let (stop, stopped) = ticker::stop_channel()?;
        let (ending, ended) = oneshot::channel::<()>();
        let settings = settings.clone();
        let thread = thread::Builder::new().name("collect".into()).spawn(move || {
            // Dropped when the thread ends, however it ends.
            let _ending = ending;
            ticker.run(&settings, &stopped)
        })?;
        Ok(Self { thread, stop, ended })
    }
}
