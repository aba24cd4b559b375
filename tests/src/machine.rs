//! Who has the machine. Tests run in parallel and share it; a few measure time or bandwidth, and two cores (the
//! smallest machine that they must pass on) with another test's load on them would make that a measurement of the
//! scheduler. Those have the machine alone: also from another run of the suite, say of another clone.

use std::{
    fs::{File, TryLockError},
    io,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::libc;

use crate::poll;

static MACHINE: RwLock<()> = RwLock::new(());

/// What runs of the suite lock against each other: a directory that is there, so that no file is left behind.
const DOOR: &str = "/run";

/// How long another run of the suite may keep it. Within this run a test that keeps it is ended by its own limit.
const LIMIT: Duration = Duration::from_mins(4);

/// How a test uses the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Beside others.
    Shared,
    /// While no other test that has an agent runs.
    Alone,
}

/// The right to use the machine, until it is dropped.
///
/// A thread must not ask for a second one while it has one: another that waits to be alone would be between them.
#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
pub struct Turn(File, Kind);

#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
enum Kind {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Waits for the machine. A test that failed with it in its hands has let go of it all the same.
pub fn take(how: Use) -> Result<Turn> {
    // Within this run first: there those who want to be alone are not passed by.
    let kind = match how {
        Use::Shared => Kind::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner)),
        Use::Alone => Kind::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner)),
    };
    let door = File::open(DOOR).with_context(|| format!("cannot open {DOOR}"))?;
    poll::until_within(LIMIT, "the machine: another run of the tests has it (`lslocks` says which)", || {
        let locked = match how {
            Use::Shared => door.try_lock_shared(),
            Use::Alone => door.try_lock(),
        };
        match locked {
            Ok(()) => Ok(Some(())),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {DOOR}")),
        }
    })?;
    Ok(Turn(door, kind))
}

/// Has this thread run before all usual ones once it has something to do: a client that waits for a core measures the
/// wait, which is none of the server's doing nor of its answer's way.
pub fn wake_first() -> Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: a system call on this thread, with a parameter that outlives it.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } != 0 {
        return Err(io::Error::last_os_error()).context("cannot have a client's thread run first");
    }
    Ok(())
}
