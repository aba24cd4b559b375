//! Waiting for what is bound to come, without guessing how long it takes.

use std::{
    fs,
    os::fd::AsFd,
    sync::{
        LazyLock,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Long enough for anything that a busy machine of two cores does; nothing that works comes near it.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Short against a tick of the agent.
const PAUSE: Duration = Duration::from_millis(20);

/// How much longer than on a processor of its own anything takes here. Where QEMU is the processor, its CPUs take turns of
/// 100 ms: whoever needs another one, as each file does that is read through a device, may wait for a turn each time.
static SLOWNESS: LazyLock<u32> = LazyLock::new(|| {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if processors.contains("QEMU TCG CPU") { 20 } else { 1 }
});

/// Asks until there is an answer, or fails after [`PATIENCE`]: `what` completes "waited in vain for".
pub fn until<T>(what: &str, ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, ask)
}

/// The same with a limit of the caller's, for a processor of its own.
pub fn until_within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let limit = here(limit);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {} s in vain for {what}", limit.as_secs_f32());
        }
        thread::sleep(PAUSE);
    }
}

/// How long a part of a test, a server say, waits for another to give it the word: several waits of the other's may come before.
const WORD: Duration = Duration::from_mins(1);

/// A limit of the caller's as it is here, where everything may take longer.
#[must_use]
pub fn here(limit: Duration) -> Duration {
    limit * *SLOWNESS
}

/// Waits for what another thread of the test says, for a minute: `what` completes "waited in vain for".
pub fn word<T>(receiver: &Receiver<T>, what: &str) -> Result<T> {
    let limit = here(WORD);
    receiver.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => anyhow::anyhow!("waited {} s in vain for {what}", limit.as_secs()),
        RecvTimeoutError::Disconnected => anyhow::anyhow!("{what}: whoever was to say it has ended"),
    })
}

/// Waits until there is something to read, for a minute: `what` completes "waited in vain for".
pub fn readable(file: &impl AsFd, what: &str) -> Result<()> {
    let limit = here(WORD);
    let timeout = PollTimeout::try_from(limit).context("a limit beyond the system's")?;
    let ready = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout)?;
    ensure!(ready > 0, "waited {} s in vain for {what}", limit.as_secs());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_does_not_come_is_told_by_its_name() {
        let limit = Duration::from_millis(1);
        let error = until_within(limit, "the end of days", || Ok(None::<()>)).unwrap_err().to_string();
        assert!(error.ends_with("s in vain for the end of days"), "{error}");
        let (sender, receiver) = mpsc::channel();
        sender.send(7).unwrap();
        assert_eq!(word(&receiver, "a number").unwrap(), 7);
        drop(sender);
        let error = word(&receiver, "a number").unwrap_err().to_string();
        assert_eq!(error, "a number: whoever was to say it has ended");
    }
}
