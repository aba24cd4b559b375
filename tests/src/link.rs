//! A link between two network namespaces that treats packets badly: it loses, duplicates, delays and reorders them, as
//! `netem` does where the kernel has it. Here a program carries them, by chances that a seed determines.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{ErrorKind, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{netns::Netns, process::complain, tun};

/// The longest packet: that of IP.
const LARGEST: usize = 65_536;

/// How many packets may come before one that is held back.
const HELD: Duration = Duration::from_millis(2);

/// What becomes of packets, either way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// Part of them that is lost, 0 to 1.
    pub loss: f64,
    /// Part that comes twice.
    pub duplicates: f64,
    /// Part that is held back until others have passed.
    pub reordering: f64,
    /// How long every packet takes.
    pub delay: Duration,
}

/// What became of them.
#[derive(Debug, Default)]
pub struct Fates {
    sent: AtomicU64,
    lost: AtomicU64,
    duplicated: AtomicU64,
    overtaken: AtomicU64,
}

/// The link, gone when dropped.
#[derive(Debug)]
pub struct Link {
    fates: Arc<Fates>,
    // Dropped, they end the carriers.
    ends: Vec<UnixStream>,
    carriers: Vec<JoinHandle<Result<()>>>,
}

impl Fates {
    /// Packets that a namespace sent: all, and of those the lost, the duplicated, and those that were overtaken.
    #[must_use]
    pub fn all(&self) -> [u64; 4] {
        [&self.sent, &self.lost, &self.duplicated, &self.overtaken].map(|fate| fate.load(Ordering::Relaxed))
    }
}

impl Link {
    /// Lays it: an interface `bad0` in each, with the addresses of [`Netns::connect`].
    pub fn lay(near: &Netns, far: &Netns, conditions: Conditions, seed: u64) -> Result<Self> {
        let [near, far] = [(near, 1), (far, 2)].map(|(netns, host)| end(netns, host));
        let (near, far) = (near?, far?);
        let fates = Arc::new(Fates::default());
        let mut link = Self { fates: Arc::clone(&fates), ends: Vec::new(), carriers: Vec::new() };
        let ways = [(near.try_clone()?, far.try_clone()?, seed), (far, near, !seed)];
        for (from, to, seed) in ways {
            let (end, told) = UnixStream::pair()?;
            let carrier = Carrier {
                from,
                to,
                told,
                conditions,
                chance: fastrand::Rng::with_seed(seed),
                fates: Arc::clone(&fates),
                under_way: BinaryHeap::new(),
                number: 0,
            };
            link.ends.push(end);
            link.carriers.push(thread::spawn(move || carrier.run()));
        }
        Ok(link)
    }

    /// What became of the packets until now.
    #[must_use]
    pub fn fates(&self) -> &Fates {
        &self.fates
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ends.clear();
        for carrier in self.carriers.drain(..) {
            if let Err(error) = carrier.join().unwrap_or_else(|_| Err(anyhow!("it panicked"))) {
                complain(&format!("a carrier of packets failed: {error:#}"));
            }
        }
    }
}

/// Makes one end. Retransmissions begin soon: the least that TCP waits, 200 ms, is for longer ways than this.
fn end(netns: &Netns, host: u8) -> Result<File> {
    let file = netns.inside(|| tun::open("bad0"))?;
    netns.ip(&["link", "set", "bad0", "up"])?;
    netns.address("bad0", &format!("192.0.2.{host}/32"))?;
    netns.address("bad0", &format!("fd00::{host}/128"))?;
    netns.ip(&["route", "add", "192.0.2.0/24", "dev", "bad0", "rto_min", "20ms"])?;
    netns.ip(&["route", "add", "fd00::/64", "dev", "bad0", "rto_min", "20ms"])?;
    Ok(file)
}

/// One direction.
struct Carrier {
    from: File,
    to: File,
    told: UnixStream,
    conditions: Conditions,
    chance: fastrand::Rng,
    fates: Arc<Fates>,
    /// What is to be handed over, when, and in which order where that is the same.
    under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    number: u64,
}

impl Carrier {
    /// Carries until the link is dropped.
    fn run(mut self) -> Result<()> {
        let mut packet = vec![0; LARGEST];
        while self.wait()? {
            loop {
                match self.from.read(&mut packet) {
                    Ok(length) => self.take(&packet[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // The namespace took the interface down.
                    Err(error) if error.raw_os_error() == Some(nix::libc::EBADFD) => return Ok(()),
                    Err(error) => return Err(error).context("cannot read a packet"),
                }
                self.hand_over()?;
            }
            self.hand_over()?;
        }
        Ok(())
    }

    /// Waits for a packet, or for the moment to hand one over; false where the link is dropped.
    fn wait(&self) -> Result<bool> {
        let timeout = match self.under_way.peek() {
            None => PollTimeout::NONE,
            // Milliseconds, rounded up: not to look in vain.
            Some(Reverse((due, ..))) => {
                let left = due.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
                PollTimeout::try_from(left)?
            }
        };
        let mut waited = [
            PollFd::new(self.from.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.told.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut waited, timeout)?;
        Ok(waited[1].revents().is_none_or(|events| events.is_empty()))
    }

    /// Decides what becomes of a packet.
    fn take(&mut self, packet: &[u8]) {
        let count = |fate: &AtomicU64| fate.fetch_add(1, Ordering::Relaxed);
        count(&self.fates.sent);
        if self.chance.f64() < self.conditions.loss {
            count(&self.fates.lost);
            return;
        }
        let mut due = Instant::now() + self.conditions.delay;
        if self.chance.f64() < self.conditions.reordering {
            count(&self.fates.overtaken);
            due += HELD;
        }
        if self.chance.f64() < self.conditions.duplicates {
            count(&self.fates.duplicated);
            self.send_off(due + HELD / 2, packet);
        }
        self.send_off(due, packet);
    }

    fn send_off(&mut self, due: Instant, packet: &[u8]) {
        self.number += 1;
        self.under_way.push(Reverse((due, self.number, packet.to_owned())));
    }

    /// Hands over what is due.
    fn hand_over(&mut self) -> Result<()> {
        while let Some(Reverse((due, ..))) = self.under_way.peek()
            && *due <= Instant::now()
            && let Some(Reverse((_, _, packet))) = self.under_way.pop()
        {
            match self.to.write(&packet) {
                Ok(_) => {}
                // The interface is down: a cut cable takes nothing.
                Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => {}
                Err(error) => return Err(error).context("cannot hand a packet over"),
            }
        }
        Ok(())
    }
}
