//! The end that a signal makes: what was read until then is counted and shown, as tcpdump does.

use std::{
    cell::Cell,
    fs::File,
    io::{self, PipeReader, Read},
    process,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::runtime;

use crate::run::Stop;

/// How long is read on behind a signal from what is no file: Ctrl-C ends the program that captures as well, which may have
/// something left to write.
const GRACE: Duration = Duration::from_secs(2);

/// Exit code of a program that SIGINT has ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// Whether a signal has come.
pub(super) struct Interrupt {
    /// Has an end once the signal has come.
    told: PipeReader,
    since: Cell<Option<Instant>>,
    /// Whether something was left unread for it.
    pub(super) cut: Cell<bool>,
}

impl Interrupt {
    /// Catches the signals from now on. A second one ends the program.
    pub(super) fn catch() -> io::Result<Rc<Self>> {
        let (told, tell) = io::pipe()?;
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let mut stop = runtime.block_on(async { Stop::catch() })?;
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(stop.wait());
            drop(tell);
            runtime.block_on(stop.wait());
            process::exit(INTERRUPTED);
        })?;
        Ok(Rc::new(Self { told, since: Cell::new(None), cut: Cell::new(false) }))
    }

    /// One that never comes.
    #[cfg(test)]
    pub(super) fn never() -> Rc<Self> {
        let (told, tell) = io::pipe().expect("a pipe");
        // Left open for as long as the tests run.
        std::mem::forget(tell);
        Rc::new(Self { told, since: Cell::new(None), cut: Cell::new(false) })
    }

    /// Whether it has come by now.
    pub(super) fn has_come(&self) -> bool {
        self.since.get().is_some()
    }

    /// Waits until there is something to read, or an end; false if a signal says to wait no more.
    fn wait_for(&self, source: &File, grace: Duration) -> io::Result<bool> {
        loop {
            let left = self.since.get().map(|since| grace.saturating_sub(since.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            let mut ready = [PollFd::new(source, PollFlags::IN), PollFd::new(&self.told, PollFlags::IN)];
            let limit = left.and_then(|left| Timespec::try_from(left).ok());
            // What has come is looked for no more.
            let watched = if left.is_some() { &mut ready[..1] } else { &mut ready[..] };
            match poll(watched, limit.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !ready[1].revents().is_empty() {
                self.since.set(Some(Instant::now()));
            } else if !ready[0].revents().is_empty() {
                return Ok(true);
            }
        }
    }
}

/// A source that ends when a signal comes.
pub(super) struct Interruptible {
    source: File,
    grace: Duration,
    interrupt: Rc<Interrupt>,
}

impl Interruptible {
    pub(super) fn new(source: File, interrupt: &Rc<Interrupt>) -> io::Result<Self> {
        let grace = if source.metadata()?.is_file() { Duration::ZERO } else { GRACE };
        Ok(Self { source, grace, interrupt: Rc::clone(interrupt) })
    }
}

impl Read for Interruptible {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.interrupt.wait_for(&self.source, self.grace)? {
            return self.source.read(to);
        }
        self.interrupt.cut.set(true);
        Ok(0)
    }
}
