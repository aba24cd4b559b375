//! One module a hook.

pub mod connection_life;
pub mod interface;
mod listener;
pub mod socket_state;
pub mod socket_traffic;
