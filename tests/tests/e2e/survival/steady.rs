//! A load that goes on while agents come and go: at a steady, bounded rate, over kept and over new connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use probe_tests::client::{Client, Request};

const THREADS: usize = 4;

/// Between two requests of a thread.
const PAUSE: Duration = Duration::from_millis(2);

/// Every so many requests of a thread, one on a connection of its own.
const NEW_EVERY: u64 = 5;

/// It ends by itself, should nobody end it.
const MOST: u64 = 40_000;

/// A running load, ended when dropped.
#[derive(Debug)]
pub struct Steady {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<Client>>>,
}

impl Steady {
    /// Starts it.
    pub fn start(server: SocketAddr) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..THREADS)
            .map(|_| {
                let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
                thread::spawn(move || drive(server, &stop, &sent))
            })
            .collect();
        Self { stop, sent, threads }
    }

    /// How many requests have been sent and answered.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Ends it, and gives how many requests were sent: all were answered.
    pub fn finish(self) -> Result<u64> {
        Ok(self.keep()?.0)
    }

    /// The same; the connections that were kept stay open.
    pub fn keep(mut self) -> Result<(u64, Vec<Client>)> {
        self.stop.store(true, Ordering::SeqCst);
        let ends: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        let kept = ends.into_iter().map(|end| end.map_err(|_| anyhow!("a client panicked"))?);
        let kept = kept.collect::<Result<Vec<_>>>()?;
        Ok((self.sent(), kept))
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn drive(server: SocketAddr, stop: &AtomicBool, sent: &AtomicU64) -> Result<Client> {
    let request = Request::new("GET", "/ok");
    let last = Request::new("GET", "/ok").header("Connection: close");
    let mut kept = Client::connect(server)?;
    for number in 1..=MOST {
        if stop.load(Ordering::SeqCst) {
            return Ok(kept);
        }
        let response = if number % NEW_EVERY == 0 {
            Client::connect(server)?.exchange(&last)?
        } else {
            kept.exchange(&request)?
        };
        ensure!(response.status == 200, "answered by {}", response.status);
        sent.fetch_add(1, Ordering::SeqCst);
        // The rate is the test's, not what the machine can do.
        thread::sleep(PAUSE);
    }
    Err(anyhow!("nobody ended the load"))
}
