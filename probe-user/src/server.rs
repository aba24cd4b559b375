//! The agent's HTTP server: `/metrics`, `/healthz`, `/readyz` and an index, behind limits, TLS and authentication.

mod accept;
mod coding;
mod connection;
mod gate;
mod guarded;
mod limits;
mod listener;
mod metrics;
mod places;
mod routes;
mod web;

pub use limits::Limits;
pub use listener::{BindError, bind, serve};
pub use routes::{Service, router};
pub use web::{BadWebConfig, Web};

#[cfg(test)]
pub(crate) mod tests;
