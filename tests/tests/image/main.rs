//! The container image, by podman and runc: `cargo xtask test image` builds it and runs this.

#[cfg(not(target_arch = "aarch64"))]
mod arm64;
mod bill;
mod counting;
mod refusals;
