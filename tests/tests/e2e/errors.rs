//! One clear sentence for each way in which the agent cannot start, and a status that says so.

use std::{net::TcpListener, os::unix::process::CommandExt, process::Command, time::Duration};

use anyhow::{Result, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use probe_tests::{
    process::{self, Output},
    tool,
};

/// A failed start is a quick one.
const LIMIT: Duration = Duration::from_secs(5);

/// `nobody` of every Debian.
const NOBODY: u32 = 65534;

/// What clap ends with when the command line is at fault.
const USAGE: i32 = 2;
const FAILURE: i32 = 1;

fn agent(flags: &[&str]) -> Result<Command> {
    let mut command = Command::new(tool::agent()?);
    command.arg("run").args(flags);
    Ok(command)
}

/// Runs it to its end, which must be a failure told in one line that has these words.
fn fails(command: &mut Command, status: i32, words: &[&str]) -> Result<Output> {
    let output = process::run(command, LIMIT)?;
    let said = output.stderr.trim_end();
    println!("{said}");
    ensure!(output.status.code() == Some(status), "ends with {}, not {status}: {said}", output.status);
    let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
    ensure!(errors == 1, "{errors} lines are errors: {said}");
    for word in words {
        ensure!(said.contains(word), "`{word}` is missing in: {said}");
    }
    Ok(output)
}

/// The same of what fails once the command line is understood: that one line is all there is.
fn fails_in_one_line(command: &mut Command, words: &[&str]) -> Result<()> {
    let output = fails(command, FAILURE, words)?;
    ensure!(output.stderr.lines().count() == 1, "more than a line: {}", output.stderr);
    Ok(())
}

#[test]
fn an_unknown_flag_is_named_with_the_one_that_was_meant() -> Result<()> {
    fails(&mut agent(&["--lisen", "127.0.0.1:0"])?, USAGE, &["--lisen", "--listen"])?;
    Ok(())
}

#[test]
fn a_duration_that_is_none_is_named_with_its_flag() -> Result<()> {
    fails(&mut agent(&["--interval", "soon"])?, USAGE, &["soon", "--interval"])?;
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    tool::demand_root()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    // Other tests have agents too: it is not to be kept away by them.
    let lock = tempfile::tempdir()?;
    let mut command = agent(&["--listen", &address, "--lock"])?;
    fails_in_one_line(command.arg(lock.path()), &[&address, "--listen"])
}

#[test]
fn without_root_it_says_what_it_needs() -> Result<()> {
    tool::demand_root()?;
    // Where the build is may be nobody's business: a copy that everybody may run.
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("traffic-probe");
    // By another process: what this one writes, a child that another test forks may still hold open, and then it does not run.
    process::run_well(Command::new("cp").arg(tool::agent()?).arg(&copy), LIMIT)?;
    let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everyone)?;
    let mut command = Command::new(copy);
    command.args(["run", "--listen", "127.0.0.1:0"]).uid(NOBODY).gid(NOBODY).current_dir("/");
    fails_in_one_line(&mut command, &["root", "CAP_BPF", "sudo"])
}

#[test]
fn an_interface_that_is_not_there_is_named() -> Result<()> {
    tool::demand_root()?;
    let lock = tempfile::tempdir()?;
    let mut command = agent(&["--listen", "127.0.0.1:0", "--xdp", "nowhere0", "--lock"])?;
    fails_in_one_line(command.arg(lock.path()), &["nowhere0", "--xdp"])
}

#[test]
fn without_cgroup2_it_says_how_to_mount_it() -> Result<()> {
    tool::demand_root()?;
    let mut command = agent(&["--listen", "127.0.0.1:0"])?;
    // SAFETY: between fork and exec only system calls are made, and memory that no other thread holds a lock on is
    // read: the list of mounts was made before.
    unsafe {
        let mounts = cgroup2_mounts()?;
        command.pre_exec(move || {
            // In a mount namespace of its own, from which nothing comes back.
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
            for mount in &mounts {
                umount2(mount.as_str(), MntFlags::MNT_DETACH)?;
            }
            Ok(())
        });
    }
    fails_in_one_line(&mut command, &["cgroup2", "mount -t cgroup2"])
}

/// Where cgroup2 is mounted, the innermost last mount first.
fn cgroup2_mounts() -> Result<Vec<String>> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mut places: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let place = words.nth(1)?;
            (words.next() == Some("cgroup2")).then(|| place.to_owned())
        })
        .collect();
    places.reverse();
    ensure!(!places.is_empty(), "this machine has no cgroup2, so that the test shows nothing");
    Ok(places)
}
