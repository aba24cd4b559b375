//! Who has the machine. Tests run in parallel and share it; a few measure time or bandwidth, and two cores (the
//! smallest machine that they must pass on) with another test's load on them would make that a measurement of the
//! scheduler. Those have the machine alone.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

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
pub struct Turn(Kind);

#[derive(Debug)]
#[expect(dead_code, reason = "held for its drop")]
enum Kind {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Waits for the machine. A test that failed with it in its hands has let go of it all the same.
#[must_use]
pub fn take(how: Use) -> Turn {
    Turn(match how {
        Use::Shared => Kind::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner)),
        Use::Alone => Kind::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner)),
    })
}
