//! Waiting for what is bound to come, without guessing how long it takes.

use std::{
    fs,
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

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
    let limit = limit * *SLOWNESS;
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
