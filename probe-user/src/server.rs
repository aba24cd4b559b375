//! The agent's HTTP server: `/metrics`, `/healthz`, `/readyz` and an index.

mod listener;
mod metrics;
mod routes;

pub use listener::{BindError, bind, serve};
pub use routes::{Service, router};

#[cfg(test)]
pub(crate) mod tests;
