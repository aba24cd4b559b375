//! Puts the kernel side into the agent: one binary, nothing beside it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
};

/// Where `cargo xtask build` says it put the object.
const VARIABLE: &str = "TRAFFIC_PROBE_EBPF";
/// Where it puts it, for a plain `cargo build` afterwards.
const USUAL: &str = "../target/ebpf/bpfel-unknown-none/release/probe-ebpf";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let object = env::var_os(VARIABLE).map_or_else(
        || Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join(USUAL),
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = Path::new(&env::var_os("OUT_DIR").expect("set by cargo")).join("probe-ebpf");
    if let Err(error) = fs::copy(&object, &embedded) {
        println!(
            "cargo::error=the kernel side is not at {} ({error}): build with `cargo xtask build`, which makes it first",
            object.display()
        );
        process::exit(1);
    }
}
