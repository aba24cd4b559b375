//! The container image, by podman and runc: `cargo xtask test image` builds it and runs this.

mod bill;
mod counting;
mod refusals;
