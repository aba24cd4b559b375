//! State that outlives the agent: programs' links and maps, pinned in a directory of a bpffs.
//!
//! ```text
//! DIR/layout-0123456789abcdef/   one for each layout: see `layout`
//!     links/     what holds the programs at their hooks
//!     programs/  those that are still to be attached to interfaces that come later
//!     maps/
//!     without/   features whose programs are loaded and could not be attached: the next agent does not look for their links
//!     whole      made once everything is in place; without it, the rest is of a start that was cut short
//! ```
//!
//! The kernel keeps these paths until the next boot. Whatever an agent was doing when it was killed, the next one finds
//! either a whole state of its own layout, which it takes up, or none, and then it removes what is there.

mod directory;
mod error;
mod layout;
mod pins;
mod since;

pub(super) use self::{
    directory::PinDirectory,
    layout::{Layout, Making},
    pins::{Pin, Pins},
};
pub use self::{directory::Removed, error::PinError, since::pinned_since};
