//! The programs that tests start, and the rights that they need. What is missing fails a test, with the step that
//! mends it: a test that was skipped proves nothing.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A command that starts a program from the search path, where Debian keeps root's programs, too.
pub fn command(program: &str) -> Result<Command> {
    Ok(Command::new(find(program)?))
}

fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            format!("`{program}` is not installed: `cargo xtask setup` installs what the tests start")
        })
}

/// The agent under test.
pub fn agent() -> Result<PathBuf> {
    const VARIABLE: &str = "TRAFFIC_PROBE_BIN";
    let path = env::var_os(VARIABLE).map(PathBuf::from).with_context(|| {
        format!("{VARIABLE} is not set: `cargo xtask test e2e` builds the agent and says where it is")
    })?;
    ensure!(
        path.is_file(),
        "{VARIABLE} names {}, which is not there: `cargo xtask test e2e` builds it",
        path.display()
    );
    Ok(path)
}

/// A file that the ring `image` prepares, by the variable that says where it is.
pub fn of_image_ring(variable: &str) -> Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).with_context(|| {
        format!("{variable} is not set: `cargo xtask test image` prepares it and says where it is")
    })
}

/// Fails unless the tests run as root.
pub fn demand_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the end-to-end tests load BPF programs and make network namespaces, and so need root: `cargo xtask test e2e` \
         asks sudo for it, `cargo xtask setup` says what else is missing"
    );
    Ok(())
}

/// Lets this process have as many descriptors as it may; a thousand clients are more than the usual limit.
pub fn raise_descriptor_limit(needed: u64) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(most >= needed, "this test needs {needed} descriptors, and `ulimit -H -n` allows {most}");
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(())
}
