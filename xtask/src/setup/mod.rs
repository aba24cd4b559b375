//! Makes a machine fit to build and test: each step looks first, acts only where something is missing, and can be
//! interrupted and rerun.
//!
//! First all that is missing from the *system* is collected (packages, mounts), so that root is asked for once; then
//! the *user's* part follows (a toolchain of rustup, bpf-linker, kernels for virtual machines), which never runs
//! through sudo.

mod apt;
mod archive;
mod cached;
mod crate_judge;
mod emulated;
mod grafana_schema;
mod kernel;
mod kubernetes;
mod linker;
mod machine;
mod mounts;
mod newman;
mod nightly;
mod packagers;
mod python;
mod schemas;
mod spelling;
mod step;
mod system;
mod toolchain;
mod tools;

use anyhow::Result;
use clap::{Args, ValueEnum};

pub(crate) use self::{
    crate_judge::cargo_deny,
    emulated::{Emulated, emulated},
    grafana_schema::grafana_schema,
    kernel::Kernel,
    kubernetes::{Kubernetes, helm, kubernetes},
    machine::{Machine, machine, possible as machine_possible},
    newman::newman,
    packagers::packagers,
    schemas::{bill_schema, openmetrics_parser, schemas},
    spelling::typos,
    system::SystemChanges,
    toolchain::Toolchain,
};
use self::{
    step::{Detail, Steps},
    toolchain::Plan,
};
use crate::privilege;

/// What `setup` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// What to set up for; everything if not given
    #[arg(long = "for", value_enum, value_delimiter = ',', value_name = "PURPOSE")]
    groups: Vec<Group>,
}

/// What a machine is set up for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// The toolchain for eBPF
    Build,
    /// Servers, load generators and tools that the tests use
    Tests,
    /// rustfmt and clippy
    Lint,
    /// bpffs and tracefs, mounted
    Mounts,
    /// What the benchmark starts beside that
    Bench,
    /// A compiler for libFuzzer
    Fuzz,
    /// Virtual machines, in which the tests run under other kernels
    Kernels,
    /// What a static binary and its image take
    Image,
    /// What one for another processor takes
    ForeignImage,
    /// What runs one for 64-bit ARM on another machine
    Emulated,
    /// What the image's tests build and run it by
    Containers,
    /// A Kubernetes node; only if asked for, since its programs are compiled
    Cluster,
}

/// The kernels that the tests run under beside the machine's own: those of Debian's last three stable releases.
pub(crate) const TESTED: [&str; 3] = ["5.10", "6.1", "6.12"];

/// `cargo xtask setup`: a line for every step, also where there is nothing to do.
pub(crate) fn setup(options: &Options) -> Result<()> {
    let mut groups = options.groups.clone();
    if groups.is_empty() {
        groups = vec![Group::Build, Group::Tests, Group::Lint, Group::Bench, Group::Fuzz];
        match machine::possible() {
            Ok(()) => groups.push(Group::Kernels),
            Err(why) => eprintln!("setup: no virtual machines: {why:#}"),
        }
    }
    // A plain user's set-up should not ask for a password just for mounts, which `run` and `test` will want anyway.
    if privilege::is_root() && !groups.contains(&Group::Mounts) {
        groups.push(Group::Mounts);
    }
    // The lints depend on which toolchain it is.
    let plan = (groups.contains(&Group::Build) || groups.contains(&Group::Lint)).then(toolchain::plan);
    let mut steps = Steps::new(Detail::Every);
    system_part(&groups, plan.as_ref(), &mut steps)?;
    if let Some(plan) = plan {
        plan.user_part(&mut steps)?;
    }
    if groups.contains(&Group::Tests) {
        newman::prepare(&mut steps)?;
    }
    if groups.contains(&Group::Kernels) {
        for series in TESTED {
            machine::prepare(series, &mut steps)?;
        }
    }
    if groups.contains(&Group::Cluster) {
        kubernetes::prepare(&mut steps)?;
    }
    steps.finish();
    Ok(())
}

/// What the other commands call first: silent about what is there already. The toolchain is always among it, since
/// each of them builds the eBPF object.
pub(crate) fn ensure(groups: &[Group]) -> Result<Toolchain> {
    let plan = toolchain::plan();
    let mut steps = Steps::new(Detail::Changes);
    system_part(groups, Some(&plan), &mut steps)?;
    let toolchain = plan.user_part(&mut steps)?;
    steps.finish();
    Ok(toolchain)
}

/// The same for what does without the kernel side, and so without its toolchain.
pub(crate) fn ensure_host(groups: &[Group]) -> Result<()> {
    let mut steps = Steps::new(Detail::Changes);
    system_part(groups, None, &mut steps)?;
    steps.finish();
    Ok(())
}

/// Those packages that some set-up asks for and that are installed; empty where there is no dpkg.
pub(crate) fn installed_packages() -> Vec<&'static str> {
    let mut packages = [&toolchain::PACKAGES[..], &[toolchain::CLIPPY_PACKAGE]].concat();
    packages.extend(
        tools::TESTS
            .iter()
            .chain(&tools::BENCH)
            .chain(&tools::IMAGE)
            .chain(&tools::FOREIGN_IMAGE)
            .chain(&tools::CONTAINERS)
            .chain(&machine::TOOLS)
            .chain(&emulated::TOOLS)
            .chain(&newman::TOOLS)
            .chain(&kubernetes::TOOLS)
            .chain(&python::TOOLS)
            .map(|tool| tool.package),
    );
    packages.extend(machine::LIBRARIES);
    packages.dedup();
    let missing = apt::missing(&packages);
    packages.retain(|package| !missing.contains(package));
    packages
}

fn system_part(groups: &[Group], plan: Option<&Plan>, steps: &mut Steps) -> Result<()> {
    let wanted = |group| groups.contains(&group);
    let mut changes = SystemChanges::default();
    if let Some(plan) = plan {
        plan.system_part(&mut changes, steps);
        if wanted(Group::Lint) {
            tools::lint(plan, &mut changes, steps)?;
        }
    }
    if wanted(Group::Tests) {
        tools::tests(&mut changes, steps)?;
        tools::collect(&newman::TOOLS, &mut changes, steps)?;
    }
    if wanted(Group::Bench) {
        tools::collect(&tools::BENCH, &mut changes, steps)?;
    }
    if wanted(Group::Fuzz) {
        tools::collect(&tools::FUZZ, &mut changes, steps)?;
    }
    if wanted(Group::Kernels) {
        machine::system_part(&mut changes, steps)?;
    }
    if wanted(Group::Image) {
        tools::collect(&tools::IMAGE, &mut changes, steps)?;
    }
    if wanted(Group::ForeignImage) {
        tools::collect(&tools::FOREIGN_IMAGE, &mut changes, steps)?;
    }
    if wanted(Group::Emulated) {
        tools::collect(&emulated::TOOLS, &mut changes, steps)?;
    }
    if wanted(Group::Containers) {
        tools::collect(&tools::CONTAINERS, &mut changes, steps)?;
    }
    if wanted(Group::Cluster) {
        kubernetes::system_part(&mut changes, steps)?;
    }
    if wanted(Group::Mounts) {
        mounts::collect(&mut changes, steps);
    }
    changes.apply_or_offer(steps)
}
