//! The probe on a real Kubernetes node: `cargo xtask test kubernetes`. One test at a time, since a node has one probe.

mod endings;
mod forgotten_versions;
mod install;
mod manifests;
mod names;
mod objects;
mod on_node;
mod peers;
mod rights;
mod server;
mod token;
mod workloads;
