//! What the agent has the kernel side do to entries of the histograms. It writes orders into a table, and has all of them carried
//! out in one run of a program (`BPF_PROG_TEST_RUN` with one repetition, which no signal ends): so whatever moment the agent is
//! killed at, either none of them has been carried out, or all.
//!
//! Of entries that are to leave, what programs count meanwhile is diverted: while [`DIVERTED`], they look among the entries that
//! are leaving first. Once all programs have ended that began before, nobody touches the entries themselves any more, whose
//! counts are then the last ones, and nobody has a pointer to what is deleted.

use crate::exchange::LatencyKey;

/// How many orders there can be at once, and entries that are leaving: more than any series has, whose entries go together.
/// Softirqs wait while a run carries them out, at up to half a microsecond an order, so there are no more than that.
pub const ORDERS: u32 = 1024;

const _: () = assert!(crate::bucket::LAST as u32 * 2 < ORDERS, "a series may have more entries");

/// Programs look among the entries that are leaving before they look into the table.
pub const DIVERTED: u64 = 1;

/// They do not.
pub const STRAIGHT: u64 = 0;

/// What is to be done.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it has been done.
    Nothing = 0,
    /// Delete the entry.
    Delete = 1,
    /// Delete the entry, and add what it had to another.
    Move = 2,
    /// Put back what was counted for the entry while it was leaving.
    Settle = 3,
    /// Add to a counter of the entry's service.
    Count = 4,
    /// Note that what the entry's service had is elsewhere now: [`crate::service::IndexState::moved`].
    LetGo = 5,
}

/// An order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The entry.
    pub entry: LatencyKey,
    /// Of [`Action::Move`]: to which entry.
    pub to: LatencyKey,
    /// Of [`Action::Move`]: what the entry has, of all CPUs together. Of [`Action::Count`]: how much.
    pub count: u64,
    /// Of [`Action::Move`], likewise.
    pub sum: u64,
    /// [`Action`]
    pub action: u32,
    /// Of [`Action::Count`]: which one of [`crate::counters::ServiceCounters::numbers`].
    pub number: u32,
}
