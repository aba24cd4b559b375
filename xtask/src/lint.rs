//! Format, prose, clippy on both sides, no machine's path in a file, and crates whose licences and sources are as `deny.toml` has them.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{
    build, exec, prose,
    setup::{self, Group},
    workspace,
};

/// Directories of one machine that have no business in a file of the project. Written so that it does not find itself.
const MACHINE_PATHS: &str = "/(work|root)/";

/// Checks everything, the quick first; stops at the first that is wrong.
pub(crate) fn lint() -> Result<()> {
    let toolchain = setup::ensure(&[Group::Lint])?;
    say("format");
    exec::run(workspace::host_cargo("fmt").args(["--all", "--check"]))
        .context("the format is not rustfmt's; run `cargo fmt --all`")?;
    say("no machine's path in a file");
    machine_paths()?;
    say("prose: phrases, links, lengths, spelling");
    prose::prose()?;
    say("licences, versions and sources of crates");
    crates()?;
    say("clippy, kernel side");
    exec::run(build::ebpf_cargo(&toolchain, "clippy").args(["--", "-D", "warnings"]))?;
    say("clippy, this machine's side");
    let mut clippy = workspace::host_cargo("clippy");
    clippy.args(["--workspace", "--exclude", "probe-ebpf", "--all-targets"]);
    clippy.env(build::EBPF_VARIABLE, build::ebpf(&toolchain)?);
    exec::run(clippy.args(["--", "-D", "warnings"]))?;
    say("all is well");
    Ok(())
}

/// Without advisories: these take a database that is not to be had everywhere, and change what is right while nothing of ours does.
fn crates() -> Result<()> {
    let mut deny = Command::new(setup::cargo_deny()?);
    deny.args(["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
    exec::run(deny.current_dir(workspace::root())).context(
        "a crate is not as deny.toml allows: take another one, or add there what may be, with the reason",
    )
}

fn say(what: &str) {
    eprintln!("lint: {what}");
}

/// Also looks at files that are not committed yet, but not at ignored ones.
fn machine_paths() -> Result<()> {
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(words).current_dir(workspace::root());
        command
    };
    if exec::output(&mut git(&["rev-parse", "--git-dir"])).is_none() {
        say("skipped that: this tree is not a git repository, or there is no git");
        return Ok(());
    }
    let mut grep = git(&["grep", "--untracked", "--line-number", "-I", "-E", "-e", MACHINE_PATHS]);
    match exec::status(&mut grep)?.code() {
        Some(1) => Ok(()),
        Some(0) => bail!("the lines above name a directory of one machine; remove it"),
        _ => bail!("could not search the files: {}", exec::quoted(&grep)),
    }
}
