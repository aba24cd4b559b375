//! One module a hook, and what several of them do.

pub mod adoption;
pub mod application_read;
pub mod connection_life;
pub mod datagram;
mod delivery;
pub mod early;
pub mod interface;
mod listener;
mod lock;
pub mod orders;
pub mod segment;
pub mod socket_state;
pub mod socket_traffic;
pub mod trial;
pub mod trial_client;
pub mod trial_count;
