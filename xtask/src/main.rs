//! `cargo xtask`: every step from a clean machine to a running, tested probe.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod clean;
mod cluster;
mod exec;
mod fuzz;
mod harness;
mod image;
mod libtest;
mod lint;
mod manifests;
mod notices;
mod package;
mod privilege;
mod prose;
mod record;
mod remap;
mod run;
mod setup;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Sets up, builds, runs and tests traffic-probe. Every command does the set-up that it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what building, testing and linting need; what is there already is left alone
    Setup(setup::Options),
    /// Builds the eBPF object and the agent that embeds it: target/release/traffic-probe
    Build,
    /// Builds the agent and becomes it: `cargo xtask run -- --listen 0.0.0.0:9464`
    Run(run::Options),
    /// Runs the tests: on the host (unit), on single programs (prog), on real traffic (e2e),
    /// by fuzzing (fuzz), under other kernels (kernels)
    Test(test::Options),
    /// Makes faults and attacks on a running agent, and shows what held: the ring `chaos`
    Chaos(test::Chaos),
    /// Measures what the probe costs, beside empty programs and beside nothing
    Bench(bench::Options),
    /// Fuzzes the engine and its parsers, guided by coverage
    Fuzz(fuzz::Options),
    /// Builds a container image with the agent alone, by buildah, podman or docker
    Image(image::Options),
    /// Makes a Debian and an RPM package with the agent, its systemd unit and its settings
    Package(package::Options),
    /// Renders the kustomize base from the chart
    Manifests(manifests::Options),
    /// A real Kubernetes of one node on this machine: up, down, kubectl, helm
    #[command(subcommand)]
    Cluster(cluster::Options),
    /// Checks the format, clippy's opinion of every crate, and that no machine's path is in a file
    Lint,
    /// Removes what was built, and says what remains outside of the tree
    Clean(clean::Options),
    /// The part of the set-up that needs root: started by `setup` through sudo
    #[command(hide = true)]
    AsRoot(setup::SystemChanges),
    /// Runs a program under another kernel: cargo starts tests by it
    #[command(hide = true)]
    InKernel(vm::Options),
    /// Runs a program of tests, and ends it when a test hangs: cargo starts tests by it
    #[command(hide = true)]
    Watched(harness::Options),
}

fn main() -> ExitCode {
    match dispatch(&Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &Command) -> Result<()> {
    match command {
        Command::Setup(options) => setup::setup(options),
        Command::Build => build::build(),
        Command::Run(options) => run::run(options),
        Command::Test(options) => test::test(options),
        Command::Chaos(options) => test::chaos(options),
        Command::Bench(options) => bench::bench(options),
        Command::Fuzz(options) => fuzz::fuzz(options),
        Command::Image(options) => image::image(options),
        Command::Package(options) => package::package(options),
        Command::Manifests(options) => manifests::manifests(options),
        Command::Cluster(options) => cluster::cluster(options),
        Command::Lint => lint::lint(),
        Command::Clean(options) => clean::clean(options),
        Command::AsRoot(changes) => changes.apply(),
        Command::InKernel(options) => vm::in_kernel(options),
        Command::Watched(options) => harness::watched(options),
    }
}
