//! Load at a rate that a test sets and changes while it goes on.

use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use crate::{
    client::{Client, Request},
    process::complain,
};

/// How often what is written is topped up.
const PIECE: Duration = Duration::from_millis(10);

/// How long nothing is done at a rate of none.
const REST: Duration = Duration::from_millis(5);

/// So much is caught up with after a wait for a core, and no more: it would be a burst.
const CATCH_UP: Duration = Duration::from_millis(500);

/// A rate per second, or the end, shared by who sets it and who keeps it.
#[derive(Clone, Debug, Default)]
pub struct Pace(Arc<(AtomicU64, AtomicBool)>);

impl Pace {
    /// Sets the rate.
    pub fn set(&self, per_second: u64) {
        self.0.0.store(per_second, Ordering::Relaxed);
    }

    /// Ends what goes on at this pace.
    pub fn end(&self) {
        self.0.1.store(true, Ordering::Relaxed);
    }

    fn now(&self) -> Option<u64> {
        (!self.0.1.load(Ordering::Relaxed)).then(|| self.0.0.load(Ordering::Relaxed))
    }
}

/// Clients that send requests at a pace, each waiting for its answers.
#[derive(Debug)]
pub struct Requests {
    pace: Pace,
    clients: Vec<JoinHandle<Result<()>>>,
}

impl Requests {
    /// Connects so many clients, which share the rate.
    pub fn start(server: SocketAddr, path: &str, clients: u32, pace: &Pace) -> Result<Self> {
        let request = Request::new("GET", path);
        let start = |_| -> Result<_> {
            let (client, pace, request) = (Client::connect(server)?, pace.clone(), request.clone());
            Ok(thread::spawn(move || drive(client, &request, clients, &pace)))
        };
        Ok(Self { pace: pace.clone(), clients: (0..clients).map(start).collect::<Result<_>>()? })
    }

    /// Ends it, and says whether every request was answered.
    pub fn finish(mut self) -> Result<()> {
        self.stop()
    }

    fn stop(&mut self) -> Result<()> {
        self.pace.end();
        self.clients
            .drain(..)
            .try_for_each(|client| client.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            complain(&format!("requests at a pace failed: {error:#}"));
        }
    }
}

fn drive(mut client: Client, request: &Request, clients: u32, pace: &Pace) -> Result<()> {
    let mut due = Instant::now();
    while let Some(rate) = pace.now() {
        if rate == 0 {
            thread::sleep(REST);
            continue;
        }
        due = next(due, Duration::from_secs(1) * clients / u32::try_from(rate)?);
        client.exchange(request)?;
    }
    Ok(())
}

/// Writes zeros, so many bytes a second, until the pace or the reader ends it.
pub fn write(mut stream: &TcpStream, pace: &Pace) -> Result<()> {
    let mut due = Instant::now();
    while let Some(rate) = pace.now() {
        due = next(due, PIECE);
        let bytes = Duration::from_secs(1).as_millis() / PIECE.as_millis();
        let piece = vec![0; usize::try_from(u128::from(rate) / bytes)?];
        match stream.write_all(&piece) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                break;
            }
            written => written?,
        }
    }
    Ok(())
}

/// Waits for the next moment in a rhythm.
fn next(due: Instant, step: Duration) -> Instant {
    let now = Instant::now();
    let due = (due + step).max(now.checked_sub(CATCH_UP).unwrap_or(now));
    thread::sleep(due.saturating_duration_since(now));
    due
}
