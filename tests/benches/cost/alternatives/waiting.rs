//! How long those who lag behind the load are waited for.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Who has counted nothing more for so long will not.
const STILL: Duration = Duration::from_secs(2);

/// Who has not caught up by then is too slow for the load, and has missed the rest.
const LIMIT: Duration = Duration::from_mins(1);

/// Asking costs whom it asks, too.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until something that only grows has come to so much, or grows no more.
pub(crate) fn caught_up(most: u64, mut grown: impl FnMut() -> Result<u64>) -> Result<()> {
    let began = Instant::now();
    let mut last = (grown()?, Instant::now());
    while last.0 < most && last.1.elapsed() < STILL && began.elapsed() < LIMIT {
        thread::sleep(PAUSE);
        let now = grown()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    Ok(())
}
